"""The `corelens` command: finds the command that was asked for, runs it, and turns trouble into one line.

Only the module of the chosen command is imported, so that `--help` stays quick and one command's needs never
burden another.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import NamedTuple, NoReturn, cast

from corelens import __version__
from corelens.errors import MEANINGS, CorelensError, ExitCode, UsageError


# A named tuple, because importing dataclasses would be a tenth of what `--help` may cost.
class Command(NamedTuple):
    """One command: `module` exports `add_parser(subparsers)`, which sets `run` as a default."""

    name: str
    module: str
    help: str


COMMANDS: tuple[Command, ...] = (
    Command("record", "corelens.cli.record", "record a program, or a running process, with all its children"),
    Command("report", "corelens.cli.report", "say what one recording shows"),
    Command("compare", "corelens.cli.compare", "compare recordings of the same work"),
    Command("replay", "corelens.cli.replay", "run a scenario under the recorder, or a study of all backends"),
    Command("explain", "corelens.cli.explain", "say what a verdict means and what to do about it"),
    Command(
        "explain-threads",
        "corelens.cli.explain_threads",
        "say what a thread count seen in htop may be made of",
    ),
    Command("doctor", "corelens.cli.doctor", "say what can be seen from here and how to see the rest"),
)


class CommandParser(argparse.ArgumentParser):
    """An argument parser that answers mistakes in one line and loads colours only to print help."""

    def __init__(self, *args: object, **options: object) -> None:
        options.setdefault("allow_abbrev", False)
        super().__init__(*args, **options)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]

    def error(self, message: str) -> NoReturn:
        """Exit with one line instead of a dump of the usage."""
        one_line = " ".join(message.split())
        self.exit(ExitCode.USAGE, f"{self.prog}: {one_line}; see: {self.prog} --help\n")

    def format_help(self) -> str:
        """Return the help text, in colour where a terminal reads it."""
        if sys.stdout.isatty() and "NO_COLOR" not in os.environ:
            self.formatter_class = _coloured(self.formatter_class)
        return super().format_help()


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; `argv` without the program's name.

    Raises SystemExit where argparse does: for help, the version, and arguments that it refuses.
    """
    arguments = sys.argv[1:] if argv is None else list(argv)
    try:
        code = _dispatch(arguments)
        sys.stdout.flush()
    except CorelensError as error:
        return _fail(str(error), error.exit_code)
    except BrokenPipeError:
        # The interpreter flushes stdout once more at exit and would complain about the reader's absence.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return ExitCode.BROKEN_PIPE
    except KeyboardInterrupt:
        return _fail("interrupted", ExitCode.INTERRUPTED)
    return code


def parser(command: Command | None = None) -> argparse.ArgumentParser:
    """Build the parser: with the flags of one command, or with every command's name alone."""
    top = CommandParser(
        prog="corelens",
        description="Every thread and every core-second accounted for: record parallel Python from outside.",
        epilog=_exit_codes(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--version", action="version", version=f"corelens {__version__}")
    # Naming prog keeps argparse from formatting a usage line just to find it.
    subparsers = top.add_subparsers(title="commands", metavar="COMMAND", prog="corelens")
    if command is not None:
        import_module(command.module).add_parser(subparsers)
        return top
    for each in COMMANDS:
        subparsers.add_parser(each.name, help=each.help)
    return top


def _dispatch(arguments: list[str]) -> int:
    names = ", ".join(command.name for command in COMMANDS)
    if not arguments:
        raise UsageError("no command given", f"choose one of {names}; see: corelens --help")
    if arguments[0].startswith("-"):
        parser().parse_args(arguments[:1])
        raise UsageError(f"{arguments[0]} needs a command before it", f"choose one of {names}")
    chosen = next((command for command in COMMANDS if command.name == arguments[0]), None)
    if chosen is None:
        raise UsageError(f"there is no command {arguments[0]!r}", f"choose one of {names}")
    namespace = parser(chosen).parse_args(arguments)
    return cast(Callable[[argparse.Namespace], int], namespace.run)(namespace)


def _fail(sentence: str, code: ExitCode) -> int:
    # A message may quote a file name or a program's own words; it stays one line whatever they hold.
    print(f"corelens: {' '.join(sentence.split())}", file=sys.stderr)
    return code


def _exit_codes() -> str:
    lines = [f"  {code.value:>3}  {meaning}" for code, meaning in MEANINGS.items()]
    return "\n".join(
        (
            "exit codes:",
            *lines,
            "",
            "record and replay pass the exit code of the recorded program through.",
        )
    )


def _coloured(plain: object) -> type[argparse.HelpFormatter]:
    from rich_argparse import RawDescriptionRichHelpFormatter, RichHelpFormatter

    raw = plain is argparse.RawDescriptionHelpFormatter
    base = RawDescriptionRichHelpFormatter if raw else RichHelpFormatter
    # Brackets in our texts are brackets, as in corelens[lab].
    coloured = type("Coloured", (base,), {"text_markup": False, "help_markup": False})
    return cast(type[argparse.HelpFormatter], coloured)
