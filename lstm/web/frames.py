"""Token events become frames: each an append to the text on the screen, at most 20 a second, the whole text once.

A frame is JSON. While the text grows: {"from": 12, "seconds": 0.31, "tokens": [[id, text, bits, entropy, [id, p]]]},
where seconds counts from the request, bits is what the token cost, entropy what was to be expected (bits), and each p
the model's own probability. At the end, once: {"ended": why, "seconds": 0.98, "count": 200, "text": the whole text}.
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
            tokens = [_token(event) for event in pending]
            yield _encode({"from": pending[0].position, "seconds": round(event.seconds, 4), "tokens": tokens})
            due = time.monotonic() + PERIOD
            pending = []
        if event.ended:
            whole = {"ended": event.ended, "seconds": round(event.seconds, 4), "count": len(texts)}
            yield _encode({**whole, "text": "".join(texts)})


def _token(event: TokenEvent) -> list:
    alternatives = [value for i, p in event.alternatives for value in (i, float(f"{p:.4g}"))]
    return [event.id, event.text, _bits(-event.log_probability), _bits(event.entropy), alternatives]


def _bits(nats: float) -> float:
    return round(nats / math.log(2), 3)


def _encode(frame: dict) -> str:
    return json.dumps(frame, ensure_ascii=False, separators=(",", ":"))
