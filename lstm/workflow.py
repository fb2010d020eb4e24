"""From sources to a checkpoint: everything that `train.py` does, in order."""

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch

from lstm import adaptation, checkpoint, figures, parallel, results, resume, training
from lstm.config import ModelConfig, Refused, SamplingConfig, TrainConfig
from lstm.data import write_ids
from lstm.display import Display, said_when_stopped, stop_on_signals
from lstm.engine import write
from lstm.export import export
from lstm.model import LanguageModel
from lstm.parallel import Workers
from lstm.texts import Texts, gather
from lstm.tokenizer import Tokenizer
from lstm.tracking import Tracker, track

WATCHED = 100_000  # characters of the validation text that are read at each evaluation; the final score reads all


@dataclass(frozen=True)
class Order:
    """What train.py was asked for."""

    out: Path
    sources: list[str]
    valid: str | None
    test: str | None
    model: dict  # the fields of ModelConfig that were given
    config: TrainConfig
    parent: Path | None = None
    resume: bool = False
    track: Path | None = None  # where TensorBoard's events go


def train_checkpoint(order: Order) -> None:
    """Train as ordered and leave a checkpoint in order.out. Raises Refused with one sentence, overwriting nothing.

    Of several processes on a machine one says what was refused, the others end with the same status.
    """
    began, workers = time.perf_counter(), parallel.join()
    try:
        with reserved(order, workers) as folder:
            train_in(folder, order, workers, began)
    except Refused:
        if workers.leads:
            raise
        sys.exit(2)


@contextmanager
def reserved(order: Order, workers: Workers) -> Iterator[Path]:
    """The run's folder on this machine, held for its processes. Raises Refused where the run cannot be.

    Machines may share a disk or not: each one but the first has a folder of its own, until its processes end.
    """
    place = order.out
    if workers.machine:
        place = place.parent / f"{place.name}.machine-{workers.machine}"
    with ExitStack() as held:
        with workers.together():
            folder = resume.folder_of(place)
            if workers.first and os.path.lexists(order.out) and not order.resume:
                mend = "--resume goes on with its run, or " if resume.stopped(order.out) else ""
                raise Refused(f"{order.out} exists: {mend}choose another --out, or move it away")
            if workers.leads:
                held.enter_context(resume.locked(place, order.resume and workers.first))
        yield folder


def train_in(folder: Path, order: Order, workers: Workers, began: float) -> None:
    """Train with the run in a folder, from where it stopped if so ordered. Raises Refused.

    Each process reads the texts for itself; the first one's tokenizer, weights and stopped run are given to all.
    """
    with workers.together():
        texts = gather(order.sources, order.valid, order.test, order.config.wrap)
        pieces = learn_pieces(order, texts, folder) if workers.first else b""
    tokenizer = Tokenizer(workers.give(pieces))
    with workers.together():
        model, parent = open_model(order, tokenizer)
        if workers.leads:
            encode(texts, tokenizer, folder, order.config)
    workers.begin_alike(model)
    with workers.together():
        ids_of = ids_source(texts, tokenizer, folder, order.config)
        run = training.start(order.config, model, ids_of, texts.train_bytes, workers)
    asked = resume.describe(run, texts, tokenizer, folder, parent)
    resume.compare(run, asked | {"--resume": order.resume})
    run.seconds = workers.agree(time.perf_counter() - began)  # reading and tokenising are part of the time given
    if order.resume:
        resume.load(run, folder, asked)
    with track(order.track) if order.track and workers.first else nullcontext() as tracker:
        save = partial(resume.save, run, folder, asked)
        finished = watch(run, order.out, texts, tokenizer, parent, tracker, save)
    if not finished:
        with workers.together():
            if workers.first:
                print(f"stopped at step {run.step:,}: the same command with --resume goes on from here", flush=True)
        if workers.count > 1:
            sys.exit(130)  # where some end well, torchrun waits five minutes for those that were stopped
    elif workers.first:
        with said_when_stopped("stopped while scoring: the same command with --resume finishes it"):
            finish(run, order.out, texts, tokenizer, parent)
        resume.discard(order.out)


def learn_pieces(order: Order, texts: Texts, folder: Path) -> bytes:
    """The tokenizer's model: of the parent, of the stopped run whose folder this is, or learnt; kept in the folder.

    Raises Refused for a text of too few pieces, or a full disk.
    """
    kept = folder / "tokenizer.model"
    try:
        if not kept.exists():
            if order.parent:
                tokenizer = checkpoint.load(order.parent).tokenizer
            else:
                pieces = ModelConfig.checked(**order.model).vocab_size
                print(f"learning up to {pieces:,} pieces from {texts.train_bytes:,} bytes", flush=True)
                tokenizer = Tokenizer.train(texts.train(), pieces, order.config.seed)
            kept.write_bytes(tokenizer.model)
        if (pieces := Tokenizer(kept.read_bytes()).vocab_size) < 300:
            raise Refused(f"only {pieces} pieces can be learnt from this text: give one of ordinary words")
        return kept.read_bytes()
    except OSError as error:
        raise _full(folder, error) from None


def encode(texts: Texts, tokenizer: Tokenizer, folder: Path, config: TrainConfig) -> None:
    """Put the ids into a machine's folder, unless a stopped run left them there. Raises Refused on a full disk."""
    ids = folder / "ids.bin"
    try:
        if not ids.exists() and not config.subword_alpha:
            write_ids(texts.train(), tokenizer, ids, config.seed)
    except OSError as error:
        raise _full(folder, error) from None


def _full(folder: Path, error: OSError) -> Refused:
    return Refused(f"{folder} cannot be written ({error.strerror}): make room or choose another --out")


def open_model(order: Order, tokenizer: Tokenizer) -> tuple[LanguageModel, dict | None]:
    """The parent's weights and what is to be remembered of it, or new weights."""
    if not order.parent:
        torch.manual_seed(order.config.seed)
        shape = ModelConfig.checked(**order.model)
        return LanguageModel(shape.model_copy(update={"vocab_size": tokenizer.vocab_size})), None
    if order.model:
        raise Refused(f"{next(iter(order.model))} cannot be changed: a child keeps the shape of {order.parent}")
    source = checkpoint.load(order.parent)
    _, model = results.open_checkpoint(order.parent)
    return model, {"name": order.parent.name, "sha256": source.digest, "metrics": source.metrics}


def ids_source(texts: Texts, tokenizer: Tokenizer, folder: Path, config: TrainConfig) -> Callable[[int], np.ndarray]:
    """What Lanes reads: the ids on disk, or a new segmentation for each epoch if subword_alpha says so."""
    if not config.subword_alpha:
        ids = np.memmap(folder / "ids.bin", np.uint16, "r")
        return lambda _: ids
    whole, alpha = "\n\n".join(texts.train()), config.subword_alpha
    return lambda epoch: np.array(tokenizer.encode_sampled(whole, alpha, config.seed + epoch), np.uint16)


def watch(
    run: training.Run,
    out: Path,
    texts: Texts,
    tokenizer: Tokenizer,
    parent: dict | None,
    tracker: Tracker | None,
    save: Callable[[], None],
) -> bool:
    """Train, with the best weights so far in the checkpoint and the run in its folder; False if it was stopped.

    The run is saved before its first step, so that there is never a checkpoint without a run to go on with; then
    after each evaluation, and by the clock.
    """
    if run.workers.first:
        figures.learning_curves({out.name: []})  # loads what draws, which takes long: never between a signal and a save
    if not run.step:
        save()
    saved, unsaved = run.seconds, False
    ids, size = tokenizer.encode(texts.valid[:WATCHED]), len(texts.valid[:WATCHED].encode())
    with stop_on_signals() as stopped, Display(run, tokenizer, stopped) as display:
        for moment in training.train(run, ids, size, stopped):
            unsaved = True
            display.update(moment)
            if tracker:
                tracker.note(run, moment)
            if moment.score:
                with run.workers.together():
                    training.check(run)
                    best = min(row["valid_bits_per_byte"] for row in run.history)
                    if run.workers.first and moment.score.bits_per_byte <= best:
                        results.write(out, run.reader, tokenizer, results.metrics(run, texts.described, parent))
            if moment.score or run.seconds - saved >= run.config.save_every:
                save()
                saved, unsaved = run.seconds, False
        if unsaved:
            save()
        return run.done and not run.workers.any(stopped())


def finish(run: training.Run, out: Path, texts: Texts, tokenizer: Tokenizer, parent: dict | None) -> None:
    """Score the best weights as they were saved, add the graph that serves them, and samples that it wrote."""
    _, model = results.open_checkpoint(out)
    facts = results.metrics(run, texts.described, parent)
    facts["scores"] = results.score(model, tokenizer, texts.valid, texts.test)
    print("choosing how to adapt while reading, on the validation text", flush=True)
    adapting = adaptation.choose(model, tokenizer, texts.valid)
    facts["adaptation"] = adapting.model_dump()
    if texts.test:
        adapted = adaptation.evaluate(model, tokenizer, texts.test, texts.valid, "both", adapting)
        facts["scores"]["test, adapting"] = adapted.as_dict()
    try:
        graph = export(checkpoint.load(out).weights(), model.config, tokenizer, texts.valid)
    except Refused as refusal:  # what was trained is kept all the same
        graph = b""
        print(f"model.onnx was left out: {refusal}; the page makes one as it opens")
    results.write(out, model, tokenizer, facts, graph=graph)
    saved, samples = checkpoint.load(out), {}
    for temperature in (0.5, 0.8, 1.0):
        events = write(saved, "", SamplingConfig(temperature=temperature, length=150))
        samples[temperature] = "".join(event.text for event in events)
    results.write(out, model, tokenizer, facts, samples, graph)
    for name, score in facts["scores"].items():
        print(f"{name}: {score['bits_per_byte']:.4f} bits per byte, perplexity {score['perplexity']:.2f}")
    print(f"{out} is ready: python app.py --checkpoint {out}")
