"""Places in texts from which readers go on: exact wherever they are, and cheap where the text was written lately."""

from collections import OrderedDict
from collections.abc import AsyncIterator, Sequence

from lstm.checkpoint import Checkpoint
from lstm.engine import Moment, Stream, TokenEvent
from lstm.runtime import initial_state
from lstm.tokenizer import Tokenizer

ROOM = 32  # texts whose states are kept


class Shelf:
    """What was written lately. A reader names a text by its ids, so nothing of another's is ever shown."""

    def __init__(self, checkpoint: Checkpoint):
        self._tokenizer, self._config = checkpoint.tokenizer, checkpoint.config
        self._streams: OrderedDict[int, Stream] = OrderedDict()

    async def watch(self, stream: Stream) -> AsyncIterator[TokenEvent]:
        """A stream's events; the stream is kept under the number that they carry, and the oldest is forgotten."""
        async for event in stream:
            if event.stream not in self._streams:
                self._streams[event.stream] = stream
                if len(self._streams) > ROOM:
                    self._streams.popitem(last=False)
            yield event

    def moment(self, prompt: str, written: Sequence[int], number: int) -> Moment:
        """The place after a prompt and the tokens written since, the last or last but one of stream `number`.

        Where that stream is forgotten the text is read again, which gives the same place, bit for bit.
        """
        ids = (*prompt_ids(self._tokenizer, prompt), *written)
        for length in (len(written), len(written) - 1):  # the last one may have been chosen by hand
            if kept := self._kept(number, length):
                if kept.ids == ids:
                    return kept
                if kept.ids == ids[: len(kept.ids)]:
                    return Moment(ids, len(written), kept.read, kept.state)
        return Moment(ids, len(written), 0, initial_state(self._config))

    def texts(self, prompt: str, written: Sequence[int]) -> list[str]:
        """What each of these tokens adds to the text before it."""
        decoder = self._tokenizer.decoder()
        for i in prompt_ids(self._tokenizer, prompt):
            decoder.push(i)
        return [decoder.push(i) for i in written]

    def _kept(self, number: int, length: int) -> Moment | None:
        if number not in self._streams:
            return None
        try:
            return self._streams[number].moment(length)
        except IndexError:
            return None


def prompt_ids(tokenizer: Tokenizer, prompt: str) -> tuple[int, ...]:
    """A text begins after a line break, as the engine begins it."""
    return (*tokenizer.encode("\n"), *tokenizer.encode(prompt))
