"""Settings on the command line: an option for every field, errors in one sentence, exit status 2."""

import argparse
import sys
from collections.abc import Callable
from typing import Any, Literal, get_args, get_origin

from lstm.config import Refused, Settings


class Parser(argparse.ArgumentParser):
    """argparse, whose complaint is one sentence."""

    def error(self, message: str) -> None:
        """Say what is wrong and how to find help; ends the program with status 2."""
        self.exit(2, f"{self.prog}: {message} (see {self.prog} --help)\n")


def add_settings(parser: argparse.ArgumentParser, settings: type[Settings], title: str) -> None:
    """Add an option for every field, with its meaning and default; options that are not given stay None."""
    group = parser.add_argument_group(title)
    for name, field in settings.model_fields.items():
        kind = get_origin(field.annotation)
        choices = get_args(field.annotation) if kind is Literal else None
        group.add_argument(
            "--" + name.replace("_", "-"),
            metavar="|".join(choices) if choices else "TEXT" if kind is tuple else field.annotation.__name__.upper(),
            nargs="+" if kind is tuple else None,
            help=f"{field.description} (default: {field.default})".replace("()", "none").replace("%", "%%"),
        )


def given(arguments: argparse.Namespace, settings: type[Settings]) -> dict[str, Any]:
    """The fields of the settings that the command line gave, as they were typed."""
    values = {name: getattr(arguments, name) for name in settings.model_fields}
    return {name: value for name, value in values.items() if value is not None}


def run(program: Callable[[list[str]], None]) -> None:
    """Call a program with the command line. Refused: one sentence and status 2; a closed pipe ends quietly."""
    try:
        program(sys.argv[1:])
        sys.stdout.flush()
    except Refused as refusal:
        sys.exit(_say(str(refusal), 2))
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(0)
    except KeyboardInterrupt:
        sys.exit(_say("interrupted", 130))


def _say(sentence: str, status: int) -> int:
    print(sentence, file=sys.stderr)
    return status
