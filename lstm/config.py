"""Frozen settings of the model, its training and its sampling.

They are checked once, where they enter, and travel as JSON, TOML or YAML.
"""

import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, field_validator

PRESETS = Path(__file__).parent / "presets"


class Refused(ValueError):
    """Something a person can mend. Its text is one sentence: the value, and the remedy."""


class Settings(BaseModel):
    """A frozen group of settings. Unknown names, values of another type or out of range are refused by name."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @classmethod
    def checked(cls, **values: Any) -> Self:
        """Build from named values; raises Refused with one sentence that names each value that is wrong."""
        try:
            return cls(**values)
        except ValidationError as error:
            raise Refused("; ".join(_sentence(cls, problem) for problem in error.errors())) from None


def _sentence(group: type[BaseModel], problem: Any) -> str:
    name = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "extra_forbidden":
        return f"{name} is not a setting: choose among {', '.join(group.model_fields)}"
    return f"{name} = {problem['input']!r}: {problem['msg'].removeprefix('Input ')}"


class ModelConfig(Settings):
    """The shape of a model: V pieces, E embedding, H hidden, L layers."""

    vocab_size: int = Field(4000, ge=300, le=65_535, description="pieces in the vocabulary, 256 of them single bytes")
    embedding_size: int = Field(384, ge=4, le=8192, description="numbers that stand for a piece")
    hidden_size: int = Field(768, ge=4, le=8192, description="units in each layer")
    layers: int = Field(2, ge=1, le=8, description="LSTM layers, one above the other")

    @property
    def weight_shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of every weight by its name."""
        V, E, H = self.vocab_size, self.embedding_size, self.hidden_size
        shapes = {"embedding": (V, E), "projection": (E, H), "output_bias": (V,)}
        for n in range(self.layers):
            shapes |= {f"weight_x.{n}": (4 * H, H if n else E), f"weight_h.{n}": (4 * H, H), f"bias.{n}": (4 * H,)}
        return shapes


class TrainConfig(Settings):
    """How a model is trained. Rates of dropout are probabilities; a step is one update of the weights."""

    minutes: float = Field(5.0, gt=0, le=100_000, description="how long to train, unless steps is given")
    steps: int = Field(0, ge=0, description="how many steps to train instead of minutes")
    lanes: int = Field(32, ge=1, le=4096, description="rows of a batch, each a stretch of the text read in order")
    window: int = Field(64, ge=1, le=4096, description="tokens of each lane in a step (truncated backpropagation)")
    learning_rate: float = Field(4e-3, gt=0, le=100, description="peak rate of AdamW, for embedding and biases")
    matrix_rate: float = Field(0.01, gt=0, le=100, description="peak rate of Muon, for the other matrices")
    warmup: float = Field(0.02, ge=0, lt=1, description="part of the run in which the rate rises to its peak")
    rate_by_depth: float = Field(1.0, gt=0, le=1, description="rate of a layer over that of the layer above it")
    thaw: float = Field(
        0.0, ge=0, lt=1, description="part of the run over which layers begin to move, the top one first"
    )
    weight_decay: float = Field(0.1, ge=0, le=10, description="decay of the weights, biases left out")
    clip: float = Field(1.0, gt=0, description="largest norm of a step's gradient")
    average: float = Field(0.0, ge=0, lt=1, description="decay of the running average of the weights, 0 for none")
    dropout_embedding: float = Field(0.0, ge=0, lt=1, description="pieces left out whole, for a window")
    dropout_input: float = Field(0.0, ge=0, lt=1, description="embedding numbers left out, the same for a window")
    dropout_hidden: float = Field(0.0, ge=0, lt=1, description="units left out between layers, the same for a window")
    dropout_output: float = Field(0.0, ge=0, lt=1, description="units left out above the last layer")
    dropout_recurrent: float = Field(0.0, ge=0, lt=1, description="weights left out of the recurrent matrices")
    subword_alpha: float = Field(
        0.0, ge=0, le=10, description="smoothness of sampled segmentations, 0 for the best one"
    )
    wrap: int = Field(
        0, ge=0, le=1000, description="set texts in lines of at most so many characters, 0 for as they are"
    )
    evaluations: int = Field(10, ge=1, le=10_000, description="how often the validation text is read during the run")
    save_every: float = Field(60.0, ge=0, description="seconds between two saves of the run: a kill loses no more")
    seed: int = Field(0, ge=0, lt=2**31, description="seed of every random draw")
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="where to train")
    precision: Literal["auto", "float32", "bfloat16"] = Field("auto", description="numbers of the matrix products")


StopString = Annotated[str, StringConstraints(min_length=1, max_length=100)]


class SamplingConfig(Settings):
    """How the next token is drawn from the model's distribution, and when the text ends."""

    temperature: float = Field(0.8, ge=0, le=5, description="0 takes the likeliest token; above 1 flattens the odds")
    top_k: int = Field(40, ge=0, le=65_535, description="draw among this many likeliest tokens; 0 for all")
    top_p: float = Field(1.0, ge=0, le=1, description="draw among the likeliest tokens that hold this much of the odds")
    min_p: float = Field(0.0, ge=0, le=1, description="leave out tokens less likely than this part of the likeliest")
    repetition_penalty: float = Field(1.0, ge=1, le=5, description="above 1, the last 64 tokens are less likely again")
    length: int = Field(200, ge=1, le=10_000, description="tokens to write")
    stop: tuple[StopString, ...] = Field((), max_length=8, description="a text at which to end, itself left out")
    seed: int = Field(0, ge=0, lt=2**63, description="the same seed, prompt and settings give the same text")

    @field_validator("stop", mode="before")
    @classmethod
    def _one_or_many(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value


def load_preset(name: str) -> dict[str, Any]:
    """Settings of a shipped preset, or of a .toml, .yaml or .yml file. Raises Refused if there is no such file."""
    path = Path(name) if Path(name).suffix else PRESETS / f"{name}.toml"
    if not path.is_file():
        shipped = ", ".join(sorted(p.stem for p in PRESETS.glob("*.toml")))
        raise Refused(f"there is no preset {name!r}: give one of {shipped}, or a .toml or .yaml file")
    try:
        text = path.read_text(encoding="utf-8")
        values = tomllib.loads(text) if path.suffix == ".toml" else yaml.safe_load(text)
    except (OSError, tomllib.TOMLDecodeError, yaml.YAMLError, UnicodeDecodeError) as error:
        raise Refused(f"{path} cannot be read as settings: {' '.join(str(error).split())}") from None
    if not isinstance(values, dict):
        raise Refused(f"{path} holds no settings: write one 'name = value' a line")
    return values
