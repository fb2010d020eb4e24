"""SentencePiece: train, encode, decode, and a streaming decoder that never emits half a character.

A word has the same piece at the start of a line as inside it: encoding puts one space after a line break (and before
the text) unless another break follows, and decoding takes it away again.
"""

import codecs
import io
import re
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor

import sentencepiece

from lstm.config import Refused

_AFTER_BREAK = re.compile(r"\n(?=[^\n])")
_SPACE_MARK = "\u2581"  # what SentencePiece writes for a space; a real one travels as three bytes
_LONGEST_LINE = 2000  # characters of a training line; SentencePiece skips lines over 4,192 bytes
_BREAKS = ["\n\n", "\n"]


class Tokenizer:
    """Text to ids and back. decode(encode(text)) == text for every text that UTF-8 can write."""

    def __init__(self, model: bytes):
        """model: a serialised SentencePiece model with byte fallback. Raises Refused if it is not one."""
        try:
            if not model:
                raise RuntimeError("empty")
            self._pieces = sentencepiece.SentencePieceProcessor(model_proto=model)
            self._bytes = [self._piece_bytes(i) for i in range(self._pieces.vocab_size())]
            self._mark_ids = [self._pieces.piece_to_id(f"<0x{byte:02X}>") for byte in _SPACE_MARK.encode()]
        except RuntimeError as error:
            raise Refused(f"the tokenizer cannot be read ({error}): train the checkpoint again") from None
        if len(set(self._mark_ids)) != 3:
            raise Refused("the tokenizer has no pieces for single bytes: train it with byte fallback")
        self.model = model

    @classmethod
    def train(cls, texts: Iterable[str], vocab_size: int, seed: int = 0) -> "Tokenizer":
        """Learn at most vocab_size unigram pieces (Kudo 2018), fewer if the texts have fewer. Raises Refused."""
        sentencepiece.set_random_generator_seed(seed)
        model = io.BytesIO()
        try:
            sentencepiece.SentencePieceTrainer.train(
                sentence_iterator=_training_lines(texts),
                model_writer=model,
                vocab_size=vocab_size,
                hard_vocab_limit=False,
                model_type="unigram",
                byte_fallback=True,
                normalization_rule_name="identity",
                add_dummy_prefix=False,
                remove_extra_whitespaces=False,
                allow_whitespace_only_pieces=True,
                user_defined_symbols=_BREAKS,
                character_coverage=0.9999,
                bos_id=-1,
                eos_id=-1,
                input_sentence_size=200_000,
                shuffle_input_sentence=True,
                num_threads=2,
                minloglevel=2,
            )
        except RuntimeError as error:
            reason = str(error).rsplit("]", 1)[-1].strip() or "too few different words"
            raise Refused(
                f"no tokenizer of {vocab_size} pieces can be learnt from this text ({reason}): give more text"
            ) from None
        return cls(model.getvalue())

    @property
    def vocab_size(self) -> int:
        """Pieces, single bytes included."""
        return len(self._bytes)

    def encode(self, text: str, after: str = "") -> list[int]:
        """Ids of the likeliest segmentation of a text that stands after another one.

        Raises Refused for text that UTF-8 cannot write (lone surrogates).
        """
        return self._encode(text, self._pieces.encode, at_line_start=not after or after.endswith("\n"))

    def encode_all(self, texts: list[str]) -> list[list[int]]:
        """Ids of many texts, each as it would be encoded alone, on all cores."""
        with ThreadPoolExecutor() as pool:  # SentencePiece lets go of the interpreter while it works
            return list(pool.map(self.encode, texts))

    def encode_sampled(self, text: str, alpha: float, seed: int) -> list[int]:
        """Ids of a segmentation drawn line by line with smoothness alpha (subword regularisation, Kudo 2018)."""
        sentencepiece.set_random_generator_seed(seed)

        def draw(part: str) -> list[int]:
            lines = re.findall(r"[^\n]+|\n+", part)
            drawn = self._pieces.encode(lines, enable_sampling=True, alpha=alpha, nbest_size=-1, num_threads=1)
            return [i for ids in drawn for i in ids]

        return self._encode(text, draw)

    def _encode(self, text: str, encode_part: Callable[[str], list[int]], at_line_start: bool = True) -> list[int]:
        if not text.isascii():
            try:
                text.encode()
            except UnicodeEncodeError as error:
                raise Refused(f"character {error.start} is half a surrogate pair: leave it out") from None
        spaced = _AFTER_BREAK.sub("\n ", text)
        if at_line_start and text and text[0] != "\n":
            spaced = " " + spaced
        first, *rest = spaced.split(_SPACE_MARK)
        ids = encode_part(first)
        for part in rest:
            ids += self._mark_ids + encode_part(part)
        return ids

    def decode(self, ids: Iterable[int]) -> str:
        """The text of the ids; bytes that are no UTF-8 become U+FFFD."""
        decoder = self.decoder()
        return "".join(decoder.push(i) for i in ids) + decoder.flush()

    def decoder(self) -> "StreamDecoder":
        """A decoder that stands before the first id of a text."""
        return StreamDecoder(self._bytes)

    def piece(self, i: int) -> str:
        """What the piece looks like on its own; a byte that is no character becomes U+FFFD."""
        return self._bytes[i].decode("utf-8", "replace")

    def table(self) -> list[tuple[str, float, str]]:
        """Of each id: the piece as SentencePiece writes it, its score, and its kind, "word", "break", "byte" or ""."""
        pieces = [self._pieces.id_to_piece(i) for i in range(self.vocab_size)]
        return [(piece, self._pieces.get_score(i), self._kind(i, piece)) for i, piece in enumerate(pieces)]

    def _kind(self, i: int, piece: str) -> str:
        if self._pieces.is_byte(i):
            return "byte"
        if self._pieces.is_unknown(i) or self._pieces.is_control(i) or self._pieces.is_unused(i):
            return ""
        return "break" if piece in _BREAKS else "word"

    def _piece_bytes(self, i: int) -> bytes:
        piece = self._pieces.id_to_piece(i)
        if self._pieces.is_byte(i):
            return bytes([int(piece[3:5], 16)])
        if self._pieces.is_unknown(i) or self._pieces.is_control(i):
            return b""
        return piece.replace(_SPACE_MARK, " ").encode()


class StreamDecoder:
    """Turns ids into text one at a time; holds back bytes until they make a character."""

    def __init__(self, piece_bytes: list[bytes]):
        self._table = piece_bytes
        self._utf8 = codecs.getincrementaldecoder("utf-8")("replace")
        self._at_line_start = True

    def push(self, i: int) -> str:
        """The text that id i completes, often empty for a byte of a longer character."""
        raw = self._table[i]
        if not raw:
            return ""
        drop = self._at_line_start and raw.startswith(b" ")
        self._at_line_start = raw.endswith(b"\n")
        return self._utf8.decode(raw[drop:])

    def flush(self) -> str:
        """What is left at the end: U+FFFD for a character that never came whole."""
        return self._utf8.decode(b"", final=True)


def _training_lines(texts: Iterable[str]) -> Iterator[str]:
    for text in texts:
        for line in text.split("\n"):
            for start in range(0, len(line), _LONGEST_LINE):
                yield " " + line[start : start + _LONGEST_LINE]
