"""The model card: what a checkpoint is, how it came to be, how well it reads, and where it fails."""

from collections.abc import Mapping

from lstm.config import ModelConfig


def model_card(name: str, config: ModelConfig, facts: dict, samples: Mapping[float, str]) -> str:
    """Markdown for the checkpoint's README. samples: the first seed's text at each temperature, not picked by hand."""
    return "\n".join(
        [
            *_front_matter(facts),
            f"# {name}",
            "",
            f"A subword LSTM language model: {facts['parameters']:,} parameters, {config.vocab_size:,} pieces, "
            f"embedding {config.embedding_size}, {config.layers} x {config.hidden_size} hidden units.",
            "",
            "![Learning curve](curve.png)",
            "",
            *_scores(facts),
            *_training(facts),
            "## Samples",
            "",
            "The first seed at each temperature, top-k 40, no prompt, not picked by hand.",
            "",
            *[line for heat, text in samples.items() for line in _sample(heat, text)],
            "## Limits",
            "",
            "It has read little and knows less. It writes in the manner of its texts, forgets the plot within a few "
            "sentences, and repeats the views of the time in which they were written. Do not rely on what it says.",
            "",
        ]
    )


def _front_matter(facts: dict) -> list[str]:
    return ["---", "language: en", "pipeline_tag: text-generation", "tags:", "- lstm", "---", ""]


def _scores(facts: dict) -> list[str]:
    rows = [
        f"| {name} | {s['bits_per_byte']:.3f} | {s['perplexity']:.1f} | {s['bytes']:,} |"
        for name, s in facts["scores"].items()
    ]
    if not rows:
        return ["Training is still going on: there are no final scores yet.", ""]
    head = ["| text | bits per byte | perplexity per piece | bytes |", "|---|---|---|---|"]
    read = "Read left to right with the state carried; the test text after the validation text."
    if "test, adapting" in facts["scores"]:
        read += " Adapting: with a neural cache and dynamic evaluation, their settings chosen on the validation text."
    return [*head, *rows, "", read, ""]


def _training(facts: dict) -> list[str]:
    sources = ", ".join(f"{s['name']} ({s['bytes']:,} bytes)" for s in facts["corpus"][:4])
    more = f" and {len(facts['corpus']) - 4} more" if len(facts["corpus"]) > 4 else ""
    lines = [
        "## Training",
        "",
        f"- Command: `{facts['command']}`",
        f"- Texts: {sources}{more}",
        f"- {_effort(facts)}, products in {facts['precision']}",
    ]
    while parent := facts.get("parent"):
        facts = parent["metrics"]
        lines.append(f"- Began from {parent['name']} (its manifest's SHA-256 begins {parent['sha256'][:12]}):")
        lines.append(f"  {_amount(facts)}, {_effort(facts)}, `{facts['command']}`")
    return [*lines, ""]


def _amount(facts: dict) -> str:
    return f"{len(facts['corpus'])} texts of {sum(document['bytes'] for document in facts['corpus']):,} bytes in all"


def _effort(facts: dict) -> str:
    return (
        f"{facts['steps']:,} steps, {facts['tokens']:,} tokens, {facts['seconds']:,.0f} seconds on {facts['hardware']}"
    )


def _sample(heat: float, text: str) -> list[str]:
    return [f"Temperature {heat}:", "", *["    " + line for line in text.split("\n")], ""]
