"""`cr_trainer`: the group of commands. Each command's module is imported only when it is asked for."""

import contextlib
import errno
import importlib
import io
import logging
import signal
import sys
import threading
import traceback
from collections.abc import Mapping, Sequence
from types import FrameType
from typing import TextIO, cast

import click

from cal_ratio_trainer.cli.messages import HarmlessStream, set_verbosity, verbosity_option
from cal_ratio_trainer.errors import EXIT_INTERRUPTED, UserError, did_you_mean, system_error_in_words
from cal_ratio_trainer.launching import (
    error_of_output,
    exit_process,
    open_closed_streams,
    place,
    report_failure,
    silence_other_ranks,
)
from cal_ratio_trainer.version import __version__

EXIT_FAILED_PARTS = 1
EXIT_USER_ERROR = 2
EXIT_IN_PROGRESS = 3

_COMMANDS = {
    "train": ("training", "Train the network (without arguments: on the built-in demo)."),
    "tune": ("training", "Search for better settings of a training (needs the extra 'tune')."),
    "demo": ("ntuples", "Simulate DiVertAnalysis ntuples to try out all commands."),
    "convert": ("", "Convert ntuples to files of jets, or trainings to other formats."),
    "build": ("training_files", "Build a main or control-region training file from converted files."),
    "resample": ("training_files", "Take a random fraction of a file of jets, keeping the class shares."),
    "plot": ("training_files", "Compare training files, or redraw the plots of a training."),
    "analyze": ("runs", "Compare runs, find their best epochs and recommend one."),
    "score": ("scoring", "Score jets of any file, also of ntuples, with a trained network."),
    "compare": ("scoring", "Compare two networks, or a network with scores in files, on the same jets."),
    "runs": ("runs", "List all runs with their state and best figures."),
    "watch": ("runs", "Open the page of a run, also while it trains."),
    "import": ("runs", "Import a training of the earlier program as a run."),
    "model-dump": ("runs", "Show the layers of a trained network."),
    "doctor": ("runs", "Check this installation: versions, devices, engines, folders."),
}
"""Module of this package and summary of each command, in the order of --help."""

_SHARED_COMMAND = "train"
"""The one whose work several processes of torchrun share."""

_CONVERT_COMMANDS = {
    "training": ("runs", "Write a trained network for other programs: frugally-deep JSON, Keras, ONNX."),
    "divertanalysis": ("ntuples", "Convert DiVertAnalysis ntuples to files of jets."),
}


class LazyGroup(click.Group):
    """A group whose commands live in modules that are imported when used: `cr_trainer --help` stays fast."""

    def __init__(
        self, name: str, listed: Mapping[str, tuple[str, str]], help: str, groups: Sequence[click.Group] = ()
    ) -> None:
        """Makes a group.

        Args:
            name: name of the group.
            listed: module of this package and summary of each command and group, in the order to list them.
            help: help of the group.
            groups: groups within it.
        """
        super().__init__(name, help=help, context_settings={"help_option_names": ["-h", "--help"]})
        self._listed = listed
        self._groups = {group.name: group for group in groups}

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names in the order of the work, not of the alphabet."""
        return list(self._listed)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Imports the command's module, and builds the command."""
        if cmd_name not in self._listed or cmd_name in self._groups:
            return self._groups.get(cmd_name)
        # Only here, since it imports pydantic.
        from cal_ratio_trainer.cli.options import SettingsCommand

        content = vars(importlib.import_module(f"cal_ratio_trainer.cli.{self._listed[cmd_name][0]}")).values()
        return next(each.build() for each in content if isinstance(each, SettingsCommand) and each.name == cmd_name)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Finds the command; the error for an unknown name gives the most similar one."""
        if args and args[0] not in self._listed and not args[0].startswith("-"):
            ctx.fail(f"no command '{args[0]}'{did_you_mean(args[0], self._listed)}")
        if place().processes > 1 and args and args[0] in _COMMANDS and args[0] != _SHARED_COMMAND:
            raise UserError(
                f"torchrun started {place().processes} processes of '{args[0]}', but only {_SHARED_COMMAND} shares its "
                "work between them; start it once, without torchrun"
            )
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list in --help, from the table of summaries, without importing anything."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in self._listed.items()])


def cr_trainer() -> click.Group:
    """The whole command line."""
    convert = LazyGroup(
        "convert",
        _CONVERT_COMMANDS,
        "Convert ntuples to files of jets, or a trained network to other formats.",
    )
    group = LazyGroup(
        "cr_trainer",
        _COMMANDS,
        "From DiVertAnalysis ntuples to a trained CalRatio jet network.\n\n"
        "Start with 'cr_trainer train': it needs no data. 'cr_trainer COMMAND --help' explains a command.",
        [convert],
    )
    group.params += [
        verbosity_option(),
        click.Option(
            ["--version"],
            is_flag=True,
            is_eager=True,
            expose_value=False,
            callback=_print_version,
            help="Print the version and stop.",
        ),
    ]
    group.callback = set_verbosity
    return group


def main() -> None:
    """Runs the command line; a user's mistake ends in one sentence and exit status 2."""
    open_closed_streams()
    silence_other_ranks()
    with (
        contextlib.redirect_stdout(cast(TextIO, HarmlessStream(sys.stdout))),
        contextlib.redirect_stderr(cast(TextIO, HarmlessStream(sys.stderr))),
    ):
        status = _status_of_command()
    if status == EXIT_INTERRUPTED and not hasattr(sys, "ps1") and threading.current_thread() is threading.main_thread():
        # The exit waits for workers; a second ^C ends that at once. A notebook goes on, and keeps its handler.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    exit_process(status)


def _status_of_command() -> int:
    interrupts: list[int] = []

    def record_interrupt(number: int, frame: FrameType | None) -> None:
        interrupts.append(number)
        raise KeyboardInterrupt

    is_main_thread = threading.current_thread() is threading.main_thread()
    if is_main_thread and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, record_interrupt)
    try:
        status = cr_trainer().main(standalone_mode=False)
    except click.ClickException as error:
        with io.StringIO() as text:
            error.show(text)
            status = report_failure(text.getvalue().rstrip("\n"), EXIT_USER_ERROR)
    except (click.Abort, KeyboardInterrupt):
        status = report_failure("interrupted", EXIT_INTERRUPTED)
    except SystemExit as error:
        # click ends a command whose output is no longer read; `exit_process` drops the remaining text.
        status = error.code
    except (UserError, OSError, MemoryError) as error:
        where = "".join(traceback.format_exception(error)) if logging.getLogger().isEnabledFor(logging.INFO) else ""
        said = system_error_in_words(error) if isinstance(error, OSError) else str(error)
        if isinstance(error, MemoryError):
            said = f"there is not enough memory{f': {error}' if str(error) else ''}"
        if error_of_output() is not None:
            said = f"standard output: {said}"
        status = report_failure(f"{where}error: {said}", getattr(error, "exit_status", EXIT_USER_ERROR))
    except Exception:
        # A module that was being imported may have replaced the interrupt by an error of another type.
        status = (
            report_failure("interrupted", EXIT_INTERRUPTED)
            if interrupts
            else report_failure(traceback.format_exc(), EXIT_FAILED_PARTS)
        )
    finally:
        if signal.getsignal(signal.SIGINT) is record_interrupt:
            signal.signal(signal.SIGINT, signal.default_int_handler)
    status = status if isinstance(status, int) else 0
    unwritten = error_of_output()
    if unwritten is None:
        return status
    if unwritten.errno == errno.EPIPE:
        return EXIT_FAILED_PARTS
    return report_failure(f"error: standard output: {system_error_in_words(unwritten)}", EXIT_USER_ERROR)


def _print_version(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        click.echo(f"cr_trainer {__version__}")
        ctx.exit()
