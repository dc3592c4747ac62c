"""Drawings that another process can import."""

import os
import signal
import sys
import time
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes


def line(axes: Axes, height: float) -> None:
    """A line."""
    axes.plot([0, 1], [0, height])


def crossing(axes: Axes, values: np.ndarray) -> None:
    """Two lines."""
    axes.plot(np.arange(len(values)), values / 2, label="rising")
    axes.plot(np.arange(len(values)), values[::-1], label="falling")
    axes.set(xlim=(0, len(values)), ylim=(0, 5))
    axes.legend(loc="upper left")


def marked(axes: Axes, log: Path, words: str, seconds: float = 0.0) -> None:
    """Draws nothing; appends a line to a file, and writes the names of imported modules beside it."""
    time.sleep(seconds)
    with log.open("a") as file:
        file.write(f"{words}\n")
    log.with_suffix(".modules").write_text(" ".join(sys.modules))


def unfinished(axes: Axes, once: Path | None, number: signal.Signals) -> None:
    """Drawing during which the process is killed; only the first time if `once` is a file."""
    if once is None or not once.exists():
        if once is not None:
            once.touch()
        os.kill(os.getpid(), number)
