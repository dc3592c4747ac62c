"""A process of its own that draws figures for this one, at low priority.

It is started by its own command and not by `multiprocessing`, whose processes would import the user's main module, and
with it PyTorch, once more: half a gigabyte and seconds each, and a script without main guard would train again.
"""

import os
import pickle
import signal
import subprocess
import sys
import time
import traceback
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path

from cal_ratio_trainer.plotting.drawing import Drawing
from cal_ratio_trainer.plotting.style import FigureLabels

_NICENESS = 10
_PATIENCE_S = 300.0
"""Longer than any figure takes, on a machine with other things to do and with a slow disk to import from."""
_FAREWELL_S = 5.0

# Nothing is imported before the path is that of the owner: a json.py in the current folder would be taken.
_PROGRAM = """
import sys
sys.path[:] = sys.argv[2:]
from cal_ratio_trainer.plotting.worker import serve
serve(int(sys.argv[1]))
"""
_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


class WorkerDied(Exception):
    """The process that was to draw ended, or gave no answer."""


class DrawingFailed(Exception):
    """A figure could not be drawn, for another reason than the disk's; the message is the other process's traceback."""


@dataclass(frozen=True)
class Request:
    """A figure to draw, where, and with what over it."""

    drawing: Drawing
    folder: Path
    labels: FigureLabels


@dataclass(frozen=True)
class Answer:
    """Result of a drawing: an error or None, and its processor time. [s]"""

    error: Exception | None
    seconds: float


class Worker:
    """The process, seen from the one it draws for."""

    def __init__(self) -> None:
        """Start it.

        Raises:
            OSError: the system starts no more processes.
        """
        here, there = Pipe()
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-c", _PROGRAM, str(there.fileno()), *map(str, sys.path)],
                pass_fds=[there.fileno()],
                stdin=subprocess.DEVNULL,
                env={**os.environ, **_ONE_THREAD},
            )
        except OSError:
            here.close()
            raise
        finally:
            # With this end open in both processes neither would notice the end of the other.
            there.close()
        self._connection = here

    @property
    def process_id(self) -> int:
        """Id of the process."""
        return self._process.pid

    def draw(self, request: Request) -> Answer:
        """Let it draw one figure, and wait for it.

        Raises:
            WorkerDied: it ended or gives no answer; this object is of no use any more.
        """
        try:
            self._connection.send(request)
        except (pickle.PicklingError, AttributeError, TypeError) as error:
            return Answer(DrawingFailed(f"{request.drawing.name} cannot be sent to another process: {error}"), 0.0)
        except OSError as error:
            raise WorkerDied(self._last_words()) from error
        try:
            if not self._connection.poll(_PATIENCE_S):
                raise WorkerDied(f"gave no answer for {_PATIENCE_S:.0f} s")
            answer: Answer = self._connection.recv()
        except (EOFError, OSError) as error:
            raise WorkerDied(self._last_words()) from error
        return answer

    def stop(self) -> None:
        """End it after the figure it is drawing."""
        self._connection.close()
        try:
            self._process.wait(_FAREWELL_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _last_words(self) -> str:
        with suppress(subprocess.TimeoutExpired):
            return f"ended with status {self._process.wait(_FAREWELL_S)}"
        return "does not listen any more"


def serve(descriptor: int) -> None:
    """Main loop of the process: draws figures from a connection until the other end is closed.

    ^C and SIGTERM reach all processes of a job; this one goes on until the one it draws for has no more for it.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    with suppress(OSError):
        os.nice(_NICENESS)
    connection: Connection[Answer, Request] = Connection(descriptor)
    while True:
        try:
            request = connection.recv()
        except (EOFError, ConnectionError):
            return
        except Exception as error:
            answer = Answer(DrawingFailed(f"a drawing cannot be read in another process: {error}"), 0.0)
        else:
            answer = drawn(request)
        try:
            connection.send(answer)
        except ConnectionError:
            return


def drawn(request: Request) -> Answer:
    """Draw a figure in this process; a failure is an answer too."""
    begin = time.thread_time()
    error: Exception | None = None
    try:
        request.drawing.write(request.folder, request.labels)
    except OSError as failure:
        error = failure
    except Exception:
        error = DrawingFailed(f"{request.drawing.name} cannot be drawn:\n{traceback.format_exc()}")
    return Answer(error, time.thread_time() - begin)
