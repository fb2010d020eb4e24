"""What a run reads: training text, read again for each pass so that memory does not grow; validation and test text."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

from lstm import corpus
from lstm.config import Refused

_AS_PUBLISHED = 5  # every fifth document keeps its own lines when the others are wrapped


@dataclass(frozen=True)
class Texts:
    """The sources of the training text, and the texts it is judged by ("" for no test)."""

    sources: tuple[str, ...]
    wrap: int  # characters of a line, 0 for lines as they are
    divided: bool  # whether validation and test text are cut from the end of each document
    valid: str
    test: str
    described: tuple[dict, ...]  # name, bytes and SHA-256 of each document
    train_bytes: int

    def train(self) -> Iterator[str]:
        """The training documents one after the other, read and cleaned anew."""
        for n, document in enumerate(corpus.read(self.sources)):
            yield _parts(document.text, self.divided, self.wrap, n)[0]


def gather(sources: list[str], valid: str | None = None, test: str | None = None, wrap: int = 0) -> Texts:
    """Read everything once. Without a validation file, the last tenth of each document is kept for validation and test.

    Raises Refused for sources that are no text, or too little of it.
    """
    described, valid_parts, test_parts, size = [], [], [], 0
    for n, document in enumerate(corpus.read(sources)):
        raw = document.text.encode()
        described.append({"name": document.name, "bytes": len(raw), "sha256": hashlib.sha256(raw).hexdigest()})
        train_part, valid_part, test_part = _parts(document.text, not valid, wrap, n)
        size += len(train_part.encode())
        valid_parts.append(valid_part)
        test_parts.append(test_part)
    texts = Texts(
        sources=tuple(sources),
        wrap=wrap,
        divided=not valid,
        valid=corpus.read_exact(valid) if valid else "".join(valid_parts),
        test=corpus.read_exact(test) if test else "".join(test_parts),
        described=tuple(described),
        train_bytes=size,
    )
    if size < 2000:
        raise Refused(f"{', '.join(sources)}: {size:,} bytes are too few to learn from, give more text")
    if len(texts.valid) < 100:
        raise Refused(f"{valid or sources[-1]}: {len(texts.valid)} characters are too few to judge by, give more text")
    return texts


def _parts(text: str, divided: bool, wrap: int, n: int) -> tuple[str, str, str]:
    """Training, validation and test part of the n-th document."""
    if wrap and n % _AS_PUBLISHED != _AS_PUBLISHED - 1:
        text = corpus.typeset(text, wrap)
    return corpus.split(text) if divided else (text, "", "")
