"""From sources to a checkpoint: everything that `train.py` does, in order."""

import hashlib
import os
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch

from lstm import adaptation, checkpoint, parallel, results, resume, training
from lstm.config import ModelConfig, Refused, SamplingConfig, TrainConfig
from lstm.data import write_ids
from lstm.display import Display, said_when_stopped, stop_on_signals
from lstm.engine import write
from lstm.export import export
from lstm.model import LanguageModel
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
    """Train as ordered and leave a checkpoint in order.out. Raises Refused with one sentence, overwriting nothing."""
    folder = resume.folder_of(order.out)
    if os.path.lexists(order.out) and not order.resume:
        mend = "--resume goes on with its run, or " if resume.stopped(order.out) else ""
        raise Refused(f"{order.out} exists: {mend}choose another --out, or move it away")
    began, workers = time.perf_counter(), parallel.join()
    with resume.locked(order.out, order.resume) if workers.first else nullcontext():
        texts = gather(order.sources, order.valid, order.test, order.config.wrap)
        if workers.first:
            prepare(order, texts, folder)
        workers.wait()
        tokenizer = Tokenizer((folder / "tokenizer.model").read_bytes())
        model, parent = open_model(order, tokenizer)
        ids_of = ids_source(texts, tokenizer, folder, order.config)
        run = training.start(order.config, model, ids_of, texts.train_bytes, workers)
        run.seconds = time.perf_counter() - began  # reading and tokenising are part of the time that was given
        asked = describe(order, run, texts, parent)
        if order.resume:
            resume.load(run, folder, asked)
        with track(order.track) if order.track and workers.first else nullcontext() as tracker:
            save = partial(resume.save, run, folder, asked)
            finished = watch(run, order.out, texts, tokenizer, parent, tracker, save)
        if finished and workers.first:
            with said_when_stopped("stopped while scoring: the same command with --resume finishes it"):
                finish(run, order.out, texts, tokenizer, parent)
            resume.discard(order.out)
        elif workers.first:
            print(f"stopped at step {run.step:,}: the same command with --resume goes on from here")
        workers.wait()


def describe(order: Order, run: training.Run, texts: Texts, parent: dict | None) -> dict:
    """What a run is made of, as JSON: resuming must find it all again, but for how long to train, and where."""
    free = {"minutes", "steps", "evaluations", "save_every", "device"}
    files = {}
    for path in (resume.folder_of(order.out) / name for name in ("tokenizer.model", "ids.bin")):
        if path.exists():
            with open(path, "rb") as file:
                files[path.name] = hashlib.file_digest(file, "sha256").hexdigest()
    return {
        **run.config.model_dump(exclude=free),
        **run.model.config.model_dump(),
        "corpus": list(texts.described),
        "valid": hashlib.sha256(texts.valid.encode()).hexdigest(),
        "from": parent and parent["sha256"],
        **files,
    }


def prepare(order: Order, texts: Texts, folder: Path) -> None:
    """Put the tokenizer and the ids into the run's folder, unless a stopped run left them there."""
    kept, ids = folder / "tokenizer.model", folder / "ids.bin"
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
        if not ids.exists() and not order.config.subword_alpha:
            write_ids(texts.train(), Tokenizer(kept.read_bytes()), ids, order.config.seed)
    except OSError as error:
        raise Refused(f"{folder} cannot be written ({error.strerror}): make room or choose another --out") from None


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
    if not run.step:
        save()
    saved = run.seconds
    ids, size = tokenizer.encode(texts.valid[:WATCHED]), len(texts.valid[:WATCHED].encode())
    with stop_on_signals() as stopped, Display(run, tokenizer) as display:
        for moment in training.train(run, ids, size, stopped):
            display.update(moment)
            if tracker:
                tracker.note(run, moment)
            if moment.score:
                training.check(run)
                best = min(row["valid_bits_per_byte"] for row in run.history)
                if run.workers.first and moment.score.bits_per_byte <= best:
                    results.write(out, run.reader, tokenizer, results.metrics(run, texts.described, parent))
            if moment.score or run.seconds - saved >= run.config.save_every:
                save()
                saved = run.seconds
        if run.progress < 1:
            save()
    return run.progress >= 1


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
