"""Several processes: what they say to one another; and two machines, here two launches without a common disk."""

import multiprocessing
import shlex
import signal
import socket
import subprocess
import sys

import pytest
import torch.distributed as dist
from conftest import ROOT, make_text, run

import train
from lstm import checkpoint, parallel
from lstm.config import Refused
from lstm.parallel import ALONE, Workers

TORCHRUN = [sys.executable, "-m", "torch.distributed.run"]
WORDS = shlex.split(
    "--preset tiny --vocab-size 320 --embedding-size 16 --hidden-size 16 --lanes 4 --window 16 --steps 100"
    " --evaluations 2 --dropout-input 0.2 --dropout-recurrent 0.1 --device cpu"
)


def corpus(folder):
    return ["--corpus", str(folder / "train.txt"), "--valid", str(folder / "valid.txt")]


@pytest.fixture
def machines(tmp_path):
    """Two folders that stand for the disks of two machines, each with the texts."""
    folders = [tmp_path / "one", tmp_path / "two"]
    for folder in folders:
        folder.mkdir()
        (folder / "train.txt").write_text(make_text(300))
        (folder / "valid.txt").write_text(make_text(20, seed=1))
    return folders


def launch(machines, *more):
    """Start the same training on each machine."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    place = ["--master-addr", "127.0.0.1", "--master-port", str(port)]
    started = [*TORCHRUN, "--nnodes", "2", "--nproc-per-node", "1", *place]
    return [
        subprocess.Popen(
            [*started, "--node-rank", str(n), "train.py", *WORDS, *corpus(folder), "--out", folder / "out", *more],
            cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for n, folder in enumerate(machines)
    ]  # fmt: skip


def test_two_machines_that_stop_and_go_on_end_as_one_machine_does(machines, tmp_path):
    processes = [*TORCHRUN[1:], "--standalone", "--nproc-per-node", "2", "train.py"]
    done = run(*processes, *WORDS, *corpus(machines[0]), "--out", tmp_path / "alone")
    assert done.returncode == 0, done.stderr

    first, second = launch(machines)
    while "step 50 " not in (line := first.stdout.readline()):
        assert line, first.stderr.read()
    second.send_signal(signal.SIGTERM)  # what one machine is told, both do
    assert "--resume goes on" in first.stdout.readline() + first.stdout.readline()
    said = [each.communicate(timeout=60) for each in (first, second)]
    assert not any("lstm/" in complained for _, complained in said)  # no traceback of ours beside torchrun's
    assert [path.name for path in machines[0].glob("out*")] == ["out", "out.run"]
    assert not list(machines[1].glob("*out*"))

    resumed = launch(machines, "--resume")
    said = [each.communicate(timeout=60) for each in resumed]
    assert [each.returncode for each in resumed] == [0, 0], said
    assert not list(machines[1].glob("*out*"))
    one, two = (checkpoint.load(folder) for folder in (tmp_path / "alone", machines[0] / "out"))
    assert two.read("model.safetensors") == one.read("model.safetensors")
    assert two.read("tokenizer.model") == one.read("tokenizer.model")
    assert [row["valid_bits_per_byte"] for row in two.metrics["history"]] == [
        row["valid_bits_per_byte"] for row in one.metrics["history"]
    ]


def together(work, folder):
    """What each of two machines makes of work(workers), in their order."""

    def process(rank, results):
        dist.init_process_group("gloo", f"file://{folder}/meeting", rank=rank, world_size=2)
        try:
            results.put((rank, work(Workers(rank, 2, machine=rank))))
        except Refused as refusal:
            results.put((rank, str(refusal)))

    context = multiprocessing.get_context("fork")
    results = context.SimpleQueue()
    processes = [context.Process(target=process, args=(rank, results)) for rank in range(2)]
    for each in processes:
        each.start()
    found = dict(results.get() for _ in processes)
    for each in processes:
        each.join(20)
        assert each.exitcode == 0
    return found[0], found[1]


def test_machines_with_other_texts_are_refused_and_leave_nothing(machines, tmp_path, monkeypatch):
    (machines[1] / "train.txt").write_text((machines[0] / "train.txt").read_text() + "One more.\n")

    def work(workers):
        monkeypatch.setattr(parallel, "join", lambda: workers)
        train.main([*WORDS, *corpus(machines[workers.rank]), "--out", str(machines[workers.rank] / "out")])

    said = together(work, tmp_path)
    assert "corpus is not the same" in said[0]
    assert said[1] == said[0]
    assert not [path for folder in machines for path in folder.glob("*out*")]


def test_bytes_go_from_one_to_all_and_from_all_to_each(tmp_path):
    def work(workers):
        mine = [b"\0\xff", b"longer than that"][workers.rank]
        return workers.give(mine), workers.give(b""), workers.collect(mine), workers.collect(b""), workers.any(False)

    gathered = [b"\0\xff", b"longer than that"]
    assert together(work, tmp_path) == ((b"\0\xff", b"", gathered, [b"", b""], False),) * 2
    assert (ALONE.give(b"x"), ALONE.collect(b"x"), ALONE.any(True)) == (b"x", [b"x"], True)


def test_a_wish_of_one_and_a_refusal_of_one_are_those_of_both(tmp_path):
    def work(workers):
        assert workers.any(workers.rank == 1)
        with workers.together():
            if workers.rank == 1:
                raise Refused("the disk is full: make room")

    assert together(work, tmp_path) == ("the disk is full: make room",) * 2


def test_a_process_that_is_gone_is_said_in_one_sentence(tmp_path):
    def work(workers):
        return "gone" if workers.first else workers.agree(1)

    assert "another process of this run is gone" in together(work, tmp_path)[1]
