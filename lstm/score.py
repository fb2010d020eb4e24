"""How well a text was foretold, whoever read it."""

import math
from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Score:
    """Nats in all, over so many tokens and UTF-8 bytes."""

    nats: float
    tokens: int
    bytes: int

    @property
    def bits_per_byte(self) -> float:
        """Compares models with any vocabulary."""
        return self.nats / math.log(2) / self.bytes

    @property
    def perplexity(self) -> float:
        """Per piece: only compares models with the same vocabulary."""
        return math.exp(self.nats / self.tokens)

    def as_dict(self) -> dict[str, float]:
        """Both figures and their counts, for JSON."""
        return asdict(self) | {"bits_per_byte": self.bits_per_byte, "perplexity": self.perplexity}
