"""From sources to a checkpoint: everything that `train.py` does, in order."""

import hashlib
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from lstm import adaptation, checkpoint, corpus, results, resume, training
from lstm.config import ModelConfig, Refused, SamplingConfig, TrainConfig
from lstm.data import write_ids
from lstm.display import Display, stop_on_signals
from lstm.engine import write
from lstm.export import export
from lstm.model import LanguageModel
from lstm.tokenizer import Tokenizer

WATCHED = 100_000  # characters of the validation text that are read at each evaluation; the final score reads all


@dataclass(frozen=True)
class Texts:
    """What is read: the training documents, the validation text, the test text ("" if there is none), their sources."""

    train: list[str]
    valid: str
    test: str
    sources: list[dict]

    @property
    def train_bytes(self) -> int:
        """UTF-8 bytes of the training documents."""
        return sum(len(text.encode()) for text in self.train)


def gather(sources: list[str], valid: str | None, test: str | None, wrap: int) -> Texts:
    """Read and clean the sources; without a validation file the last tenth is kept for validation and test.

    wrap > 0 sets four of five documents in lines of so many characters. Raises Refused for sources that are no text.
    """
    documents = list(corpus.read(sources))
    described = [
        {"name": d.name, "bytes": len(d.text.encode()), "sha256": hashlib.sha256(d.text.encode()).hexdigest()}
        for d in documents
    ]
    texts = [d.text for d in documents]
    if wrap:
        texts = [text if n % 5 == 4 else corpus.typeset(text, wrap) for n, text in enumerate(texts)]
    valid_text, test_text = (corpus.read_exact(name) if name else "" for name in (valid, test))
    if not valid:
        train_text, valid_text, rest = corpus.split("\n\n".join(texts))
        texts, test_text = [train_text], test_text or rest
    if sum(map(len, texts)) < 2000 or len(valid_text) < 100:
        raise Refused(
            f"{', '.join(sources)}: {sum(map(len, texts))} characters are too few to learn from, give more text"
        )
    return Texts(texts, valid_text, test_text, described)


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


def train_checkpoint(order: Order) -> None:
    """Train as ordered and leave a checkpoint in order.out. Raises Refused with one sentence, overwriting nothing."""
    if order.out.exists() and not order.resume:
        mend = "--resume goes on with its run, or " if resume.folder_of(order.out).exists() else ""
        raise Refused(f"{order.out} exists: {mend}choose another --out, or move it away")
    began = time.perf_counter()
    config = order.config
    torch.manual_seed(config.seed)
    with resume.locked(order.out) as folder:
        texts = gather(order.sources, order.valid, order.test, config.wrap)
        tokenizer, model, parent = open_model(order, texts, folder)
        run = training.start(config, model, ids_source(texts, tokenizer, folder, config), texts.train_bytes)
        run.seconds = time.perf_counter() - began  # reading and tokenising are part of the time that was given
        if order.resume:
            resume.load(run, folder)
        if not watch(run, order.out, texts, tokenizer, parent, folder):
            print(f"stopped at step {run.step:,}: the same command with --resume goes on from here")
            return
        finish(run, order.out, texts, tokenizer, parent)
    shutil.rmtree(folder, ignore_errors=True)


def open_model(order: Order, texts: Texts, folder: Path) -> tuple[Tokenizer, LanguageModel, dict | None]:
    """The parent's tokenizer and weights, or new ones; a run that is resumed keeps the tokenizer it began with."""
    if order.parent:
        if order.model:
            raise Refused(f"{next(iter(order.model))} cannot be changed: a child keeps the shape of {order.parent}")
        source = checkpoint.load(order.parent)
        parent = {"name": order.parent.name, "sha256": source.digest, "metrics": source.metrics}
        return *results.open_checkpoint(order.parent), parent
    kept = folder / "tokenizer.model"
    shape = ModelConfig.checked(**order.model)
    if order.resume and kept.is_file():
        tokenizer = Tokenizer(kept.read_bytes())
    else:
        print(f"learning up to {shape.vocab_size:,} pieces from {texts.train_bytes:,} bytes")
        tokenizer = Tokenizer.train(texts.train, shape.vocab_size, order.config.seed)
        kept.write_bytes(tokenizer.model)
    return tokenizer, LanguageModel(shape.model_copy(update={"vocab_size": tokenizer.vocab_size})), None


def ids_source(texts: Texts, tokenizer: Tokenizer, folder: Path, config: TrainConfig) -> Callable[[int], np.ndarray]:
    """What Lanes reads: the ids on disk, or a new segmentation for each epoch if subword_alpha says so."""
    if config.subword_alpha:
        whole = "\n\n".join(texts.train)
        return lambda epoch: np.array(
            tokenizer.encode_sampled(whole, config.subword_alpha, config.seed + epoch), np.uint16
        )
    try:
        ids = write_ids(texts.train, tokenizer, folder / "ids.bin", config.seed)
    except OSError as error:
        raise Refused(f"{folder} cannot be written ({error.strerror}): make room or choose another --out") from None
    return lambda _: ids


def watch(run: training.Run, out: Path, texts: Texts, tokenizer: Tokenizer, parent: dict | None, folder: Path) -> bool:
    """Train, with the best weights so far in the checkpoint and the run in its folder; False if it was stopped."""
    ids, size = tokenizer.encode(texts.valid[:WATCHED]), len(texts.valid[:WATCHED].encode())
    with stop_on_signals() as stopped, Display(run, tokenizer) as display:
        for moment in training.train(run, ids, size, stopped):
            display.update(moment)
            if moment.score:
                if moment.score.bits_per_byte <= min(row["valid_bits_per_byte"] for row in run.history):
                    results.write(out, run.reader, tokenizer, results.metrics(run, texts.sources, parent))
                resume.save(run, folder)
        if run.progress < 1:
            resume.save(run, folder)
            return False
    return True


def finish(run: training.Run, out: Path, texts: Texts, tokenizer: Tokenizer, parent: dict | None) -> None:
    """Score the best weights as they were saved, add the graph that serves them, and samples that it wrote."""
    _, model = results.open_checkpoint(out)
    facts = results.metrics(run, texts.sources, parent)
    facts["scores"] = results.score(model, tokenizer, texts.valid, texts.test)
    print("choosing how to adapt while reading, on the validation text", flush=True)
    facts["adaptation"] = adaptation.choose(model, tokenizer, texts.valid).model_dump()
    graph = export(checkpoint.load(out).weights(), model.config, tokenizer, texts.valid)
    results.write(out, model, tokenizer, facts, graph=graph)
    saved, samples = checkpoint.load(out), {}
    for temperature in (0.5, 0.8, 1.0):
        events = write(saved, "", SamplingConfig(temperature=temperature, length=150))
        samples[temperature] = "".join(event.text for event in events)
    results.write(out, model, tokenizer, facts, samples, graph)
    for name, score in facts["scores"].items():
        print(f"{name}: {score['bits_per_byte']:.4f} bits per byte, perplexity {score['perplexity']:.2f}")
    print(f"{out} is ready: python app.py --checkpoint {out}")
