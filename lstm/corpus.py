"""Text from a file, a folder, a URL or a named book: fetched, cleaned, split."""

import os
import re
import stat
import textwrap
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from lstm.config import Refused

BOOKS = {"jungle-book": "https://www.gutenberg.org/cache/epub/236/pg236.txt"}

_START = re.compile(r"^[ \t]*\*\*\* ?START OF (?:THE|THIS) PROJECT GUTENBERG.*$", re.MULTILINE)
_END = re.compile(
    r"^[ \t]*(?:\*\*\* ?END OF (?:THE|THIS) PROJECT GUTENBERG|End of (?:the |this )?Project Gutenberg).*$", re.MULTILINE
)
_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1f\x7f]")
_TRAILING = re.compile(r"(?<![^\S\n])[^\S\n]+\n")  # looks at a long run of spaces once, not from each of its places
_LARGEST = 2**32  # bytes of one file, which is read whole


@dataclass(frozen=True)
class Document:
    """One cleaned text and where it came from."""

    name: str
    text: str


def read(sources: Iterable[str]) -> Iterator[Document]:
    """Cleaned documents of the sources in order; a source named twice is read twice.

    A source is a file, a folder of .txt files, a URL or a book of BOOKS. Raises Refused for a source that is
    missing, unreadable, empty or not text.
    """
    for source in sources:
        for path in _files(source):
            text = clean(_bytes(path), str(path))
            if not text.strip():
                raise Refused(f"{path} holds no text: give a file with some")
            yield Document(path.stem.encode("utf-8", "replace").decode(), text)


def _files(source: str) -> list[Path]:
    if source in BOOKS or re.match(r"https?://", source):
        return [_fetch(source)]
    path = Path(source)
    try:
        kind = path.stat().st_mode
    except OSError as error:
        raise Refused(
            f"{source} cannot be read ({error.strerror}): give a file, a folder, a URL or {', '.join(BOOKS)}"
        ) from None
    if stat.S_ISREG(kind):
        return [path]
    if not stat.S_ISDIR(kind):
        raise Refused(f"{source} is neither a file nor a folder: give a text file or a folder of .txt files")
    walked = os.walk(path, onerror=_refuse)
    found = sorted(Path(top) / name for top, _, names in walked for name in names if name.lower().endswith(".txt"))
    if not found:
        raise Refused(f"{source} holds no .txt file: give a folder that does, or a file")
    return found


def _bytes(path: Path) -> bytes:
    try:
        about = path.stat()
        if not stat.S_ISREG(about.st_mode):
            raise Refused(f"{path} is not a file: give a text file")
        if about.st_size > _LARGEST:
            raise Refused(f"{path} has {about.st_size:,} bytes: cut it into files of at most {_LARGEST:,}")
        return path.read_bytes()
    except OSError as error:
        _refuse(error)


def _refuse(error: OSError) -> NoReturn:
    raise Refused(f"{error.filename} cannot be read ({error.strerror}): mend that or leave it out") from None


def _fetch(source: str) -> Path:
    """The local copy of a URL or named book, downloaded with progress if this is the first time."""
    import pooch  # only those who download pay for it

    url = BOOKS.get(source, source)
    try:
        path = Path(pooch.retrieve(url, known_hash=None, path=pooch.os_cache("jungle-lstm"), progressbar=True))
    except Exception as error:  # requests, urllib3, OS: whatever went wrong, the remedy is the same
        raise Refused(
            f"{url} cannot be fetched ({type(error).__name__}; offline?): download it and give --corpus FILE"
        ) from None
    if source in BOOKS and not (
        _START.search(text := path.read_bytes().decode("utf-8", "replace")) and _END.search(text)
    ):
        path.unlink()
        raise Refused(f"{url} came without the book's first or last line: try again, or give --corpus FILE")
    return path


def decode(raw: bytes, name: str) -> str:
    """Text of UTF-8 (with or without a mark), UTF-16 with its mark, or Windows-1252; else raises Refused at a byte."""
    encoding = "utf-16" if raw[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        text = raw.decode(encoding)
    except UnicodeDecodeError as error:
        if encoding == "utf-16" or not (text := _windows(raw, error.start)):
            where = f"byte {raw[error.start]:#04x} at offset {error.start}"
            raise Refused(f"{name} is not UTF-8, UTF-16 or Windows-1252 ({where}): save it as UTF-8") from None
    if control := _CONTROL.search(text):
        place = control.start()
        where = f"character {ord(text[place]):#04x} at offset {place}"
        raise Refused(f"{name} is not text ({where}): give a text, saved as UTF-8") from None
    return text


def _windows(raw: bytes, broken: int) -> str:
    """The text in Windows-1252 of bytes that are no UTF-8 from one place on, "" if they are hardly that either.

    What has letters of UTF-8 before that place is a damaged file in UTF-8; what is mostly above 127 is no Latin.
    """
    if not raw[:broken].isascii() or sum(byte > 127 for byte in raw) > len(raw) / 4:
        return ""
    try:
        return raw.decode("cp1252")
    except UnicodeDecodeError:
        return ""


def clean(raw: bytes, name: str) -> str:
    """Decoded text without Gutenberg's frame, shared indentation, trailing spaces and more than one empty line.

    Verse keeps its indentation, and a text that is clean already stays as it is. Raises Refused as decode does.
    """
    text = decode(raw, name).replace("\r\n", "\n").replace("\r", "\n")
    if start := _START.search(text):
        text = text[start.end() :]
    if end := _END.search(text):
        text = text[: end.start()]
    text = _TRAILING.sub("\n", text)
    text = re.sub(r"\n{3,}", "\n\n", textwrap.dedent(text))
    return re.sub(r"\n+\Z", "\n", text.lstrip("\n"))


def read_exact(path: str | Path) -> str:
    """The text of one file, cut and cleaned nowhere, for scoring. Raises Refused as read does."""
    return decode(_bytes(Path(path)), str(path))


def split(text: str) -> tuple[str, str, str]:
    """Training, validation and test text: 90, 5 and 5 % of the UTF-8 bytes in order, cut between characters."""
    raw = text.encode()
    first, second = (_character_start(raw, len(raw) * percent // 100) for percent in (90, 95))
    return raw[:first].decode(), raw[first:second].decode(), raw[second:].decode()


def _character_start(raw: bytes, place: int) -> int:
    """The first byte at or after place that begins a character (or the end)."""
    while place < len(raw) and raw[place] & 0xC0 == 0x80:
        place += 1
    return place


def typeset(text: str, columns: int) -> str:
    """Set a text as Project Gutenberg sets its plain books: lines of at most so many characters, dashes as two hyphens.

    A paragraph is a line between empty ones; lines that stand together are verse and are indented by five. A text
    that has no long line is set already and stays as it is.
    """
    if max(map(len, text.split("\n"))) <= 2 * columns:
        return text
    line = re.compile(rf"(.{{1,{columns}}})(?: +|$)")
    return "\n\n".join(_set_block(block, line) for block in text.replace("\u2014", "--").split("\n\n"))


def _set_block(block: str, line: re.Pattern) -> str:
    lines = block.strip("\n").split("\n")
    if len(lines) > 1:
        return "\n".join("     " + verse for verse in lines)
    return line.sub(r"\1\n", lines[0]).rstrip("\n")
