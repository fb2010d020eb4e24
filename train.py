"""Train a subword LSTM language model on The Jungle Book, or on any text."""

import argparse
from pathlib import Path

from lstm import hub
from lstm.arguments import Parser, add_settings, given, run
from lstm.config import ModelConfig, TrainConfig, load_preset

EXAMPLES = """\
examples:
  python train.py --preset quick                        five minutes on the book
  python train.py --corpus my.txt --out checkpoints/mine --minutes 3
  python train.py --corpus letters/ --valid kept.txt --vocab-size 2000 --out checkpoints/letters
  python train.py --from checkpoints/jungle-book --corpus my.txt --out checkpoints/child
  the same command with --resume                        go on with a run that was stopped

A preset is a file of 'name = value' lines. What the command line gives goes before it.
"""

CORPUS = "files, folders of .txt, URLs or jungle-book; one named twice is read twice (default: jungle-book)"
PRESET = "tiny, quick, base, finetune, or a .toml or .yaml file of settings (default: quick, finetune with --from)"
PARENT = "begin with its weights and tokenizer: a folder, or OWNER/NAME[@REVISION] on the Hugging Face Hub"

TRACK = "write TensorBoard's events to a folder (default where it is not named: runs)"


def main(words: list[str]) -> None:
    """Arguments in, one call out."""
    parser = Parser(
        "train.py", description=__doc__, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    texts = parser.add_argument_group("texts").add_argument
    texts("--corpus", nargs="+", metavar="SOURCE", default=["jungle-book"], help=CORPUS)
    texts("--valid", metavar="FILE", help="validation text (default: the corpus's last tenth, halved)")
    texts("--test", metavar="FILE", help="test text, read once at the end after the validation text")
    places = parser.add_argument_group("checkpoints").add_argument
    places("--preset", metavar="NAME|FILE", help=PRESET)
    places("--out", type=Path, metavar="FOLDER", help="where to write (default: checkpoints/PRESET)")
    places("--from", dest="parent", metavar="CHECKPOINT", help=PARENT)
    places("--track", nargs="?", type=Path, const=Path("runs"), metavar="FOLDER", help=TRACK)
    places("--resume", action="store_true", help="go on with the run of --out that was stopped")
    add_settings(parser, ModelConfig, "model")
    add_settings(parser, TrainConfig, "training")
    arguments = parser.parse_args(words)

    name = arguments.preset or ("finetune" if arguments.parent else "quick")
    preset = load_preset(name)
    if arguments.minutes and not arguments.steps:
        preset.pop("steps", None)  # the clock that was asked for goes before the preset's count
    shape = {name: preset.pop(name) for name in ModelConfig.model_fields if name in preset}
    model = given(arguments, ModelConfig) if arguments.parent else shape | given(arguments, ModelConfig)
    config = TrainConfig.checked(**preset | given(arguments, TrainConfig))

    from lstm.workflow import Order, train_checkpoint  # torch takes a second to import: not for --help

    train_checkpoint(
        Order(
            out=arguments.out or Path("checkpoints", Path(name).stem),
            sources=arguments.corpus,
            valid=arguments.valid,
            test=arguments.test,
            model=model,
            config=config,
            parent=hub.folder(arguments.parent) if arguments.parent else None,
            resume=arguments.resume,
            track=arguments.track,
        )
    )


if __name__ == "__main__":
    run(main)
