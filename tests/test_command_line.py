import json
import shutil

import pytest
from conftest import run


def lstm(*words):
    return run("-m", "lstm", *words)


def test_generate_goes_on_from_the_prompt_and_repeats_itself(tiny_checkpoint):
    words = ["generate", tiny_checkpoint, "--prompt", "The old bear", "--length", "30", "--top-k", "40"]
    first, again, other = lstm(*words, "--seed", "7"), lstm(*words, "--seed", "7"), lstm(*words, "--seed", "8")
    assert first.stdout.startswith("The old bear")
    assert first.stdout == again.stdout != other.stdout
    assert (first.returncode, first.stderr) == (0, "")


def test_greedy_ignores_the_seed(tiny_checkpoint):
    words = ["generate", tiny_checkpoint, "--temperature", "0", "--length", "20", "--seed"]
    assert lstm(*words, "1").stdout == lstm(*words, "2").stdout


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["generate", "nowhere"], "nowhere"),
        (["generate", "CHECKPOINT", "--temperature", "-1"], "temperature"),
        (["generate", "CHECKPOINT", "--length", "many"], "length"),
        (["evaluate", "CHECKPOINT", "nowhere.txt"], "nowhere.txt"),
        (["evaluate", "CHECKPOINT", "README.md", "--runtime", "onnx", "--adapt", "both"], "--adapt both"),
        (["compare", "CHECKPOINT", "nowhere"], "nowhere"),
        (["compare", "CHECKPOINT", "--picture", "nowhere/x.png"], "nowhere/x.png"),
        (["dance"], "dance"),
        ([], "COMMAND"),
    ],
)
def test_bad_words_get_one_sentence_and_status_2(tiny_checkpoint, words, named):
    done = lstm(*(tiny_checkpoint if word == "CHECKPOINT" else word for word in words))
    assert done.returncode == 2
    assert named in done.stderr
    assert done.stdout == ""
    assert len(done.stderr.strip().splitlines()) == 1


def test_both_runtimes_read_alike(tiny_checkpoint, texts):
    words = ["evaluate", tiny_checkpoint, texts / "test.txt", "--context", texts / "valid.txt", "--json", "--runtime"]
    torch, onnx = (json.loads(lstm(*words, name).stdout) for name in ("torch", "onnx"))
    assert onnx["tokens"] == torch["tokens"]
    assert onnx["bits_per_byte"] == pytest.approx(torch["bits_per_byte"], abs=0.003)


def test_adapting_is_reported_too(tiny_checkpoint, texts):
    done = lstm("evaluate", tiny_checkpoint, texts / "test.txt", "--adapt", "both")
    assert "bits per byte" in done.stdout


def test_compare_prints_a_row_for_each_and_draws(tiny_checkpoint, tmp_path):
    done = lstm("compare", tiny_checkpoint, tiny_checkpoint, "--picture", tmp_path / "x.png")
    assert done.returncode == 0, done.stderr
    assert "tokens/s" in done.stdout.splitlines()[0]
    assert (tmp_path / "x.png").read_bytes().startswith(b"\x89PNG")


def test_export_puts_the_graph_back(tiny_checkpoint, tmp_path, texts):
    folder = shutil.copytree(tiny_checkpoint, tmp_path / "copy")
    assert lstm("export", folder, "--valid", texts / "valid.txt").returncode == 0
    assert (folder / "model.onnx").read_bytes() == (tiny_checkpoint / "model.onnx").read_bytes()
    done = lstm("export", folder)
    assert done.returncode == 0, done.stderr
