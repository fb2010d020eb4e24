"""python -m lstm generate, evaluate: a checkpoint from the command line."""

import argparse
import json
import sys
import time

from lstm.arguments import Parser, add_settings, given, run
from lstm.config import Refused, SamplingConfig

ADAPT = "how it learns from what it has just read: a neural cache, dynamic evaluation, or both (default: none)"


def main(words: list[str]) -> None:
    """Choose a command and call it."""
    parser = Parser("python -m lstm", description=__doc__)
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND", parser_class=Parser)

    writing = commands.add_parser("generate", help="write a text to standard output as it comes")
    writing.add_argument("checkpoint", metavar="CHECKPOINT", help="a folder made by train.py")
    writing.add_argument("--prompt", default="", metavar="TEXT", help="how the text begins")
    add_settings(writing, SamplingConfig, "sampling")
    writing.set_defaults(command=generate)

    scoring = commands.add_parser("evaluate", help="bits per byte and perplexity of a text")
    scoring.add_argument("checkpoint", metavar="CHECKPOINT", help="a folder made by train.py")
    scoring.add_argument("text", metavar="TEXTFILE", help="the text to score, byte for byte")
    scoring.add_argument("--context", metavar="FILE", help="a text that is read before it, not scored")
    scoring.add_argument("--adapt", choices=["none", "cache", "dynamic", "both"], default="none", help=ADAPT)
    scoring.add_argument("--json", action="store_true", help="print one JSON object")
    scoring.set_defaults(command=evaluate)

    arguments = parser.parse_args(words)
    arguments.command(arguments)


def generate(arguments: argparse.Namespace) -> None:
    """Stream a text that goes on from the prompt."""
    from lstm import checkpoint
    from lstm.engine import write

    settings = SamplingConfig.checked(**given(arguments, SamplingConfig))
    print(arguments.prompt, end="", flush=True)
    for event in write(checkpoint.load(arguments.checkpoint), arguments.prompt, settings):
        print(event.text, end="", flush=True)
    print()


def evaluate(arguments: argparse.Namespace) -> None:
    """Score a text."""
    from lstm import adaptation, checkpoint, corpus, results

    tokenizer, model = results.open_checkpoint(arguments.checkpoint)
    chosen = checkpoint.load(arguments.checkpoint).metrics.get("adaptation", {})
    text = corpus.read_exact(arguments.text)
    if not text:
        raise Refused(f"{arguments.text} is empty: give a text to score")
    context = corpus.read_exact(arguments.context) if arguments.context else ""
    began = time.perf_counter()
    config = adaptation.AdaptationConfig.checked(**chosen)
    found = adaptation.evaluate(model, tokenizer, text, context, arguments.adapt, config)
    figures = {
        "bits_per_byte": found.bits_per_byte,
        "perplexity": found.perplexity,
        "bytes": found.bytes,
        "tokens": found.tokens,
        "seconds": round(time.perf_counter() - began, 3),
    }
    if arguments.json:
        print(json.dumps(figures))
    else:
        for name, value in figures.items():
            print(f"{name.replace('_', ' '):15}{value:,.4f}".rstrip("0").rstrip("."))


if __name__ == "__main__":
    sys.argv[0] = "python -m lstm"
    run(main)
