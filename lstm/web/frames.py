"""Token events become frames: each an append to the text on the screen, at most 20 a second, the whole text once.

A frame is JSON. While the text grows:
{"stream": 3, "from": 12, "seconds": 0.31, "tokens": [[id, text, bits, entropy, rank, [id, p, id, p, ...]], ...]}
where seconds counts from the request, bits is what the token cost, entropy what was to be expected (bits), rank is 0
for the likeliest, and each p is the model's own probability. Where a text goes on from tokens, what they look like
comes first: {"given": [text, ...]}. At the end, once: {"ended": why, "seconds": 0.98, "count": 200, "text": the whole}.
"""

import json
import math
import time
from collections.abc import AsyncIterator

from lstm.engine import TokenEvent

PERIOD = 0.05  # seconds between two frames


async def frames(events: AsyncIterator[TokenEvent]) -> AsyncIterator[str]:
    """Frames of one stream. The first token is sent as soon as it is there."""
    pending: list[TokenEvent] = []
    texts: list[str] = []
    due = 0.0
    async for event in events:
        pending.append(event)
        texts.append(event.text)
        if event.ended or time.monotonic() >= due:
            yield encode(_growth(pending))
            due = time.monotonic() + PERIOD
            pending = []
        if event.ended:
            whole = {"ended": event.ended, "seconds": round(event.seconds, 4), "count": len(texts)}
            yield encode({**whole, "text": "".join(texts)})


def encode(answer: object) -> str:
    """JSON in one line, as every endpoint answers."""
    return json.dumps(answer, ensure_ascii=False, separators=(",", ":"))


def _growth(events: list[TokenEvent]) -> dict:
    first, last = events[0], events[-1]
    tokens = [_token(event) for event in events]
    return {"stream": first.stream, "from": first.position, "seconds": round(last.seconds, 4), "tokens": tokens}


def _token(event: TokenEvent) -> list:
    alternatives = [value for i, p in event.alternatives for value in (i, float(f"{p:.4g}"))]
    return [event.id, event.text, _bits(-event.log_probability), _bits(event.entropy), event.rank, alternatives]


def _bits(nats: float) -> float:
    return round(nats / math.log(2), 3)
