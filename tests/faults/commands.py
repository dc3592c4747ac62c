"""Runs `cr_trainer` commands in forked processes that have already imported everything, so that many can be killed."""

import os
import signal
import sys
import time
from collections.abc import Sequence
from multiprocessing.process import BaseProcess
from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image

from cal_ratio_trainer.cli.main import main
from cal_ratio_trainer.plotting import pool
from cal_ratio_trainer.plotting.drawing import Drawing
from cal_ratio_trainer.plotting.pool import DrawingPool
from cal_ratio_trainer.plotting.style import FigureLabels
from tests.faults import forking_context

KILLS = 10
SEED = 20261128
_LONGEST_S = 300.0
_OUTPUT = "output.txt"


def start_command(
    words: Sequence[object], folder: Path, output: Path | None = None, figures: bool = True, blank: bool = False
) -> BaseProcess:
    """Starts a command in `folder` as leader of a process group; it appends its output to folder/output.txt.

    Args:
        words: of the command, after `cr_trainer`.
        folder: current folder of the command.
        output: another file for its output.
        figures: whether a training draws, which takes most of the time of a small one.
        blank: every figure is an empty PNG, which takes no time; reports are complete otherwise.
    """
    given = ([*map(str, words)], folder, output or folder / _OUTPUT, figures, blank)
    process = forking_context().Process(target=_run, args=given)
    process.start()
    return process


def run(
    words: Sequence[object], folder: Path, output: Path | None = None, figures: bool = True, blank: bool = False
) -> tuple[int, str]:
    """Runs a command to its end.

    Returns:
        Its exit status (for a signal, its negative number) and its output.
    """
    output = output or folder / _OUTPUT
    begin = output.stat().st_size if output.exists() else 0
    process = start_command(words, folder, output, figures, blank)
    process.join(_LONGEST_S)
    assert process.exitcode is not None, f"{words} did not end"
    return process.exitcode, output.read_bytes()[begin:].decode() if output.exists() else ""


def run_expecting(words: Sequence[object], folder: Path, expected: int = 0) -> float:
    """Runs a command that must end with the expected status; returns its duration. [s]"""
    begin = time.monotonic()
    status, said = run(words, folder)
    assert status == expected, f"{words} ended with {status}:\n{said}"
    return time.monotonic() - begin


def kill_after(words: Sequence[object], folder: Path, seconds: float, with_children: bool) -> None:
    """Starts a command and kills it after some time, alone or with its child processes."""
    process = start_command(words, folder)
    process.join(seconds)
    assert process.pid is not None
    if with_children:
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            process.kill()
    else:
        process.kill()
    process.join()


def kill_moments(name: str, seconds: float) -> list[tuple[float, bool]]:
    """Times of the kills [s], and whether each also kills the child processes."""
    generator = np.random.default_rng([SEED, *name.encode()])
    return [(float(generator.uniform(0, seconds)), bool(generator.integers(2))) for _ in range(KILLS)]


def _write_blank(drawing: Drawing, folder: Path, labels: FigureLabels) -> list[Path]:
    paths = [folder / f"{drawing.name}{suffix}" for suffix in labels.suffixes]
    folder.mkdir(parents=True, exist_ok=True)
    for path in paths:
        Image.new("P", (8, 6)).save(path, "PNG")
    return paths


def _run(words: list[str], folder: Path, output: Path, figures: bool, blank: bool) -> None:
    if not figures:
        DrawingPool.submit = lambda *given, **more: None  # type: ignore[method-assign]
    if blank:
        Drawing.write = _write_blank  # type: ignore[method-assign, assignment]
        # No other processes draw, which would not know of this.
        vars(pool)["available_cores"] = lambda: 1
    os.setsid()
    os.chdir(folder)
    # Fonts are listed once, not in each folder.
    os.environ["MPLCONFIGDIR"] = matplotlib.get_cachedir()
    os.environ |= {"XDG_CACHE_HOME": f"{output.parent}/cache", "OMP_NUM_THREADS": "1", "COLUMNS": "200"}
    redirect_output(output, output)
    sys.argv = ["cr_trainer", *words]
    main()


def redirect_output(out: Path, error: Path) -> None:
    """Appends what this process and its children write from now on to files."""
    for descriptor, file in ((1, out), (2, error)):
        os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND), descriptor)
    sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", buffering=1, closefd=False)  # noqa: SIM115
