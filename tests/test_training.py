import json
import re
import signal
import subprocess
import sys
import time

import pytest
import safetensors.torch
import torch
from conftest import ROOT, run

from lstm import checkpoint
from lstm.config import ModelConfig, Refused, TrainConfig, load_preset
from lstm.model import LanguageModel
from lstm.optimizers import make_optimizers, move, rate_factor
from lstm.training import choose_device

TINY = ["train.py", "--preset", "tiny"]


def corpus_of(texts) -> list:
    return ["--corpus", texts / "train.txt", "--valid", texts / "valid.txt"]


def test_a_run_leaves_a_whole_checkpoint_that_learnt(tiny_checkpoint):
    names = {p.name for p in tiny_checkpoint.iterdir()}
    wanted = {"config.json", "model.safetensors", "tokenizer.model", "metrics.json", "README.md", "curve.png"}
    assert names >= wanted | {"manifest.json"}
    metrics = json.loads((tiny_checkpoint / "metrics.json").read_text())
    assert metrics["history"][-1]["valid_bits_per_byte"] < metrics["history"][0]["valid_bits_per_byte"]
    assert metrics["scores"]["valid"]["bits_per_byte"] < 2.5
    assert metrics["steps"] == 150
    assert not tiny_checkpoint.with_name("tiny.run").exists()


@pytest.mark.parametrize("moment", ["between", "signal"])
def test_a_resumed_run_ends_with_the_very_same_weights(texts, tmp_path, moment):
    words = [
        *TINY,
        *corpus_of(texts),
        "--steps",
        "40",
        "--average",
        "0.9",
        "--dropout-input",
        "0.2",
        "--evaluations",
        "4",
        "--save-every",
        "0",
    ]
    assert run(*words, "--out", tmp_path / "straight").returncode == 0
    stopped = subprocess.Popen(
        [sys.executable, *map(str, words), "--out", str(tmp_path / "stopped")],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    while "step 10 " not in (line := stopped.stdout.readline()):
        assert line, stopped.stderr.read()
    if moment == "between":
        while not (tmp_path / "stopped.run" / "state.bin.new").exists() and stopped.poll() is None:
            time.sleep(1e-4)
        stopped.kill()  # in the midst of a save
    else:
        stopped.send_signal(signal.SIGTERM)
    said = stopped.communicate(timeout=60)[0]
    assert moment == "between" or "--resume" in said
    resumed = run(*words, "--out", tmp_path / "stopped", "--resume")
    assert resumed.returncode == 0, resumed.stderr
    one, two = (safetensors.torch.load_file(tmp_path / n / "model.safetensors") for n in ("straight", "stopped"))
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_a_child_keeps_weights_and_tokenizer_and_names_its_parent(tiny_checkpoint, texts, tmp_path):
    words = [*TINY, "--from", tiny_checkpoint, "--corpus", texts / "test.txt", "--valid", texts / "valid.txt"]
    done = run(
        *words,
        "--steps",
        "3",
        "--lanes",
        "2",
        "--learning-rate",
        "1e-9",
        "--matrix-rate",
        "1e-9",
        "--out",
        tmp_path / "child",
    )
    assert done.returncode == 0, done.stderr
    metrics = json.loads((tmp_path / "child" / "metrics.json").read_text())
    assert metrics["parent"]["name"] == "tiny"
    for name in ("tokenizer.model", "model.safetensors"):
        assert (tmp_path / "child" / name).read_bytes() == (tiny_checkpoint / name).read_bytes()


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["--minutes", "-1"], "minutes"),
        (["--learning-rate", "nan"], "learning_rate"),
        (["--learning-rate", "1e99"], "learning_rate"),
        (["--lanes", "two"], "lanes"),
        (["--vocab-size", "12"], "vocab_size"),
        (["--device", "tpu"], "device"),
        (["--preset", "vast"], "vast"),
        (["--corpus", "nowhere.txt"], "nowhere.txt"),
        (["--corpus", "docs/nothing"], "docs/nothing"),
        (["--corpus", "LICENSE"], "LICENSE"),
        (["--corpus", "README.md", "--lanes", "4096"], "lanes"),
        (["--valid", "nowhere.txt"], "nowhere.txt"),
        (["--from", "nowhere"], "nowhere"),
        (["--resume"], "resume"),
        (["--bogus"], "--bogus"),
    ],
)
def test_bad_input_gets_one_sentence_and_writes_nothing(texts, tmp_path, words, named):
    refused = run(*TINY, *corpus_of(texts), "--out", tmp_path / "out", *words)
    assert refused.returncode == 2
    assert named in refused.stderr
    assert "Traceback" not in refused.stderr
    assert len(refused.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_a_tiny_corpus_an_empty_one_and_an_existing_output_are_refused(texts, tmp_path, tiny_checkpoint):
    (tmp_path / "tiny.txt").write_text("ten bytes.")
    (tmp_path / "empty.txt").write_text("")
    (tmp_path / "images").mkdir()
    for source in ("tiny.txt", "empty.txt", "images"):
        refused = run(*TINY, "--corpus", tmp_path / source, "--out", tmp_path / "out")
        assert (refused.returncode, source in refused.stderr) == (2, True), refused.stderr
    before = (tiny_checkpoint / "manifest.json").read_bytes()
    refused = run(*TINY, *corpus_of(texts), "--out", tiny_checkpoint)
    assert (refused.returncode, "exists" in refused.stderr) == (2, True)
    assert (tiny_checkpoint / "manifest.json").read_bytes() == before


def test_presets_and_files_of_settings_are_read(tmp_path):
    (tmp_path / "mine.yaml").write_text("lanes: 3\nminutes: 2\n")
    assert load_preset(str(tmp_path / "mine.yaml")) == {"lanes": 3, "minutes": 2}
    assert load_preset("tiny")["steps"] == 150
    (tmp_path / "bad.toml").write_text("lanes 3")
    with pytest.raises(Refused, match=r"bad\.toml"):
        load_preset(str(tmp_path / "bad.toml"))
    with pytest.raises(Refused, match="lans is not a setting"):
        TrainConfig.checked(lans=3)


@pytest.mark.parametrize("minutes", [0.05, 0.0001])
def test_minutes_go_before_the_steps_of_a_preset(texts, tmp_path, minutes):
    done = run(*TINY, *corpus_of(texts), "--minutes", str(minutes), "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert (metrics["settings"]["steps"], metrics["settings"]["minutes"]) == (0, minutes)
    assert metrics["seconds"] >= 60 * minutes
    assert metrics["steps"] >= 1


def test_the_rate_rises_then_falls_to_nothing():
    factors = [rate_factor(0.1, n / 100) for n in range(101)]
    assert max(factors) == factors[10] == 1.0
    assert factors[:11] == sorted(factors[:11])
    assert factors[10:] == sorted(factors[10:], reverse=True)
    assert factors[-1] == 0


def test_deep_layers_move_later_and_less():
    model = LanguageModel(ModelConfig(vocab_size=300, embedding_size=8, hidden_size=8, layers=2))
    optimizers = make_optimizers(model, TrainConfig(rate_by_depth=0.5, thaw=0.6, weight_decay=0))
    assert sum(len(group["params"]) for o in optimizers for group in o.param_groups) == len(list(model.parameters()))
    before = {name: p.detach().clone() for name, p in model.named_parameters()}

    def moved(progress: float) -> dict[str, float]:
        for name, p in model.named_parameters():
            p.grad = torch.ones_like(p)
            with torch.no_grad():
                p.copy_(before[name])
        move(optimizers, 0.0, progress)
        return {name: (p.detach() - before[name]).abs().max().item() for name, p in model.named_parameters()}

    top = {"projection", "output_bias"}
    layers = [{f"{part}.{n}" for part in ("weight_x", "weight_h", "bias")} for n in range(2)]
    for progress, moving in [(0.1, top), (0.3, top | layers[1]), (0.5, top | layers[0] | layers[1])]:
        assert {name for name, size in moved(progress).items() if size} == moving
    sizes = moved(0.65)
    assert sizes["bias.0"] == pytest.approx(sizes["bias.1"] / 2, rel=0.01)
    assert sizes["embedding"] == pytest.approx(sizes["output_bias"] / 8, rel=0.01)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_missing_device_is_refused():
    with pytest.raises(Refused, match="--device cpu"):
        choose_device("cuda")


def test_help_is_worth_reading():
    said = run("train.py", "--help").stdout
    for word in ("--minutes", "--resume", "--from", "examples:", "checkpoints/mine", "smoothness"):
        assert word in said


def test_two_processes_train_as_one(texts, tmp_path):
    words = [*TINY, *corpus_of(texts), "--steps", "30", "--precision", "float32"]
    assert run(*words, "--out", tmp_path / "one").returncode == 0
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = run(*launch, *words, "--out", tmp_path / "two")
    assert done.returncode == 0, done.stderr
    one, two = (json.loads((tmp_path / name / "metrics.json").read_text()) for name in ("one", "two"))
    assert two["tokens"] == one["tokens"]
    for alone, shared in zip(one["history"], two["history"], strict=True):
        assert abs(alone["valid_bits_per_byte"] - shared["valid_bits_per_byte"]) < 1e-3
    assert done.stdout.count("parameters") == 1


def test_a_second_run_into_the_same_folder_and_a_forgotten_resume_are_refused(texts, tmp_path):
    words = [*TINY, *corpus_of(texts), "--steps", "100000", "--out", tmp_path / "out"]
    first = subprocess.Popen([sys.executable, *map(str, words)], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert "parameters" in first.stdout.readline() + first.stdout.readline()
    second = run(*words, "--resume")
    assert (second.returncode, "another process" in second.stderr) == (2, True), second.stderr
    first.send_signal(signal.SIGINT)
    assert "--resume" in first.communicate(timeout=60)[0]
    forgotten = run(*words)
    assert (forgotten.returncode, "--resume" in forgotten.stderr) == (2, True), forgotten.stderr


def test_rates_that_are_far_too_high_end_the_run_and_never_reach_the_checkpoint(texts, tmp_path):
    words = ["--steps", "40", "--learning-rate", "100", "--matrix-rate", "100", "--clip", "1e9"]
    spoilt = run(*TINY, *corpus_of(texts), *words, "--out", tmp_path / "out")
    assert spoilt.returncode == 2
    [sentence] = spoilt.stderr.strip().splitlines()
    assert re.search(r"step \d+ .*learning_rate = 100\.0 or matrix_rate = 100\.0 is too high", sentence)
    if (tmp_path / "out").exists():
        checkpoint.load(tmp_path / "out").weights()


def test_tracking_writes_what_tensorboard_reads(texts, tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    done = run(*TINY, *corpus_of(texts), "--steps", "20", "--out", tmp_path / "out", "--track", tmp_path / "events")
    assert done.returncode == 0, done.stderr
    events = EventAccumulator(str(tmp_path / "events")).Reload()
    history = json.loads((tmp_path / "out" / "metrics.json").read_text())["history"]
    tracked = events.Scalars("bits per byte/validation")
    assert [e.step for e in tracked] == [row["step"] for row in history]
    assert tracked[-1].value == pytest.approx(history[-1]["valid_bits_per_byte"], rel=1e-5)
