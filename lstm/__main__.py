"""python -m lstm generate, evaluate, compare, export, publish: checkpoints from the command line."""

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from lstm import hub
from lstm.arguments import Parser, add_settings, given, run
from lstm.config import Refused, SamplingConfig

if TYPE_CHECKING:
    from lstm.checkpoint import Checkpoint

ADAPT = "how it learns from what it has just read: a neural cache, dynamic evaluation, or both (default: none)"
RUNTIME = "who reads: torch in float32, or the 8-bit graph that serves the page (default: torch)"
CHECKPOINT = "a folder made by train.py, or OWNER/NAME[@REVISION] on the Hugging Face Hub"
DRY_RUN = "write what would be published to a new folder, and publish nothing"
ZERO_GPU = "the variant for ZeroGPU, which free accounts may host"
STATIC = "a folder with the page and the model for any web server: the model runs in the browser"
PUSH = "put the folder on the Hub too, as a static Space"
VALID = "a text on which the graph is compared with float32 (default: one that the model writes)"


def main(words: list[str]) -> None:
    """Choose a command and call it."""
    parser = Parser("python -m lstm", description=__doc__)
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND", parser_class=Parser)

    writing = _command(commands, generate, "write a text to standard output as it comes")
    writing.add_argument("--prompt", default="", metavar="TEXT", help="how the text begins")
    add_settings(writing, SamplingConfig, "sampling")

    scoring = _command(commands, evaluate, "bits per byte and perplexity of a text")
    scoring.add_argument("text", metavar="TEXTFILE", help="the text to score, byte for byte")
    scoring.add_argument("--context", metavar="FILE", help="a text that is read before it, not scored")
    scoring.add_argument("--adapt", choices=["none", "cache", "dynamic", "both"], default="none", help=ADAPT)
    scoring.add_argument("--runtime", choices=["torch", "onnx"], default="torch", help=RUNTIME)
    scoring.add_argument("--json", action="store_true", help="print one JSON object")

    comparing = _command(commands, compare, "a table of checkpoints and a picture of their learning curves")
    comparing.add_argument("others", nargs="*", metavar="CHECKPOINT", help="those to compare it with")
    comparing.add_argument("--picture", type=Path, default=Path("comparison.png"), metavar="FILE", help="where to draw")

    exporting = _command(commands, export, "add the 8-bit graph that serves the page to a checkpoint")
    exporting.add_argument("--valid", metavar="FILE", help=VALID)

    kinds = commands.add_parser("publish", help="put a model or its page on the Hugging Face Hub")
    kinds = kinds.add_subparsers(title="kinds", dest="kind", required=True, metavar="KIND", parser_class=Parser)
    for kind, help_text in [("model", "a checkpoint, to be loaded by its name"), ("space", "a page that serves it")]:
        publishing = kinds.add_parser(kind, help=help_text, description=help_text)
        publishing.add_argument("repository", metavar="OWNER/NAME", help="where on the Hub")
        publishing.add_argument(
            "--checkpoint", default="checkpoints/jungle-book", metavar="CHECKPOINT", help=CHECKPOINT
        )
        publishing.add_argument("--dry-run", type=Path, metavar="FOLDER", help=DRY_RUN)
        publishing.set_defaults(command=publish)
    publishing.add_argument("--zerogpu", action="store_true", help=ZERO_GPU)
    static = kinds.add_parser("static", help=STATIC, description=STATIC)
    static.add_argument("folder", type=Path, metavar="FOLDER", help="a new folder for the page")
    static.add_argument("--checkpoint", default="checkpoints/jungle-book", metavar="CHECKPOINT", help=CHECKPOINT)
    static.add_argument("--push", metavar="OWNER/NAME", help=PUSH)
    static.set_defaults(command=publish_static)

    arguments = parser.parse_args(words)
    arguments.command(arguments)


def _command(commands: argparse._SubParsersAction, function, help_text: str) -> argparse.ArgumentParser:
    parser = commands.add_parser(function.__name__, help=help_text, description=help_text)
    parser.add_argument("checkpoint", metavar="CHECKPOINT", help=CHECKPOINT)
    parser.set_defaults(command=function)
    return parser


def _open(arguments: argparse.Namespace) -> "Checkpoint":
    from lstm import checkpoint

    return checkpoint.load(hub.folder(arguments.checkpoint))


def generate(arguments: argparse.Namespace) -> None:
    """Stream a text that goes on from the prompt."""
    from lstm.engine import write

    settings = SamplingConfig.checked(**given(arguments, SamplingConfig))
    opened = _open(arguments)
    print(arguments.prompt, end="", flush=True)
    for event in write(opened, arguments.prompt, settings):
        print(event.text, end="", flush=True)
    print()


def evaluate(arguments: argparse.Namespace) -> None:
    """Score a text."""
    from lstm import corpus, runtime

    opened = _open(arguments)
    text = corpus.read_exact(arguments.text)
    if not text:
        raise Refused(f"{arguments.text} is empty: give a text to score")
    context = corpus.read_exact(arguments.context) if arguments.context else ""
    began = time.perf_counter()
    if arguments.runtime == "onnx":
        if arguments.adapt != "none":
            raise Refused(f"--adapt {arguments.adapt} changes weights, which the graph cannot: use --runtime torch")
        found = runtime.evaluate(opened, text, context)
    else:
        from lstm import adaptation, results

        tokenizer, model = results.open_checkpoint(opened.path)
        config = adaptation.AdaptationConfig.checked(**opened.metrics.get("adaptation", {}))
        found = adaptation.evaluate(model, tokenizer, text, context, arguments.adapt, config)
    figures = found.as_dict() | {"seconds": round(time.perf_counter() - began, 3)}
    del figures["nats"]
    if arguments.json:
        print(json.dumps(figures))
    else:
        for name, value in figures.items():
            print(f"{name.replace('_', ' '):15}{value:,.4f}".rstrip("0").rstrip("."))


def compare(arguments: argparse.Namespace) -> None:
    """Print the table, draw the picture."""
    from lstm import comparison

    print(comparison.compare([arguments.checkpoint, *arguments.others], arguments.picture))
    print(f"learning curves: {arguments.picture}")


def export(arguments: argparse.Namespace) -> None:
    """Put model.onnx into a checkpoint, in one move."""
    from lstm import checkpoint, corpus
    from lstm.engine import write
    from lstm.export import export as make_graph

    opened = _open(arguments)
    if arguments.valid:
        text = corpus.read_exact(arguments.valid)
    else:
        events = write(opened, "", SamplingConfig(temperature=1, top_k=0, length=2000))
        text = "".join(event.text for event in events)
    graph = make_graph(opened.weights(), opened.config, opened.tokenizer, text)
    checkpoint.save(opened.path, opened.files() | {"model.onnx": graph}, replace=True)
    print(f"{opened.path}/model.onnx: {len(graph):,} bytes")


def publish(arguments: argparse.Namespace) -> None:
    """Put together what a repository holds, then send it, unless it was only to be looked at."""
    from lstm import publish

    name, opened = arguments.repository, _open(arguments)
    with tempfile.TemporaryDirectory() as room:
        folder = arguments.dry_run or Path(room, "folder")
        if arguments.kind == "model":
            publish.model(opened, name, folder)
        else:
            publish.space(opened, name, folder, arguments.zerogpu)
        if arguments.dry_run:
            print(f"{folder} holds what {name} would")
        elif arguments.kind == "model":
            print(hub.push(folder, name, "model"))
        else:
            print(hub.push(folder, name, "space", "gradio", "zero-a10g" if arguments.zerogpu else None))


def publish_static(arguments: argparse.Namespace) -> None:
    """Write the page that needs no server, and send it if asked to."""
    from lstm import static

    static.publish(_open(arguments), arguments.folder)
    print(f"{arguments.folder}: try it with 'python -m http.server --directory {arguments.folder}'")
    if arguments.push:
        print(hub.push(arguments.folder, arguments.push, "space", "static"))


if __name__ == "__main__":
    sys.argv[0] = "python -m lstm"
    run(main)
