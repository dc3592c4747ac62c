"""A Python process of its own that does tasks for this one, one after the other.

It is started by its own command and not by `multiprocessing`, whose processes would import the user's main module, and
with it PyTorch, once more: half a gigabyte and seconds each, and a script without main guard would run again. A child
never sees ^C, which a terminal sends to all processes of a command, and ends with the process that started it, however
that ends.
"""

import os
import pickle
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from types import FrameType
from typing import Any

from cal_ratio_trainer.workers.executor import Done, Report, Task, TaskFailed, at_intervals

PICKLING_ERRORS = (pickle.PicklingError, AttributeError, TypeError)
"""Errors of `Child.send` for a task that cannot be sent to another process."""

_REPORT_EVERY_S = 0.1
"""The parent may be busy for a while, and what it does not read fills the pipe. [s]"""
FAREWELL_S = 5.0
"""Time to remove what is half written. [s]"""
_TERMINATED = 128 + signal.SIGTERM

# Nothing is imported before the path is that of the parent: a json.py in the current folder would be taken.
_PROGRAM = """
import sys
sys.path[:] = sys.argv[3:]
from cal_ratio_trainer.workers.child import serve
serve(int(sys.argv[1]), int(sys.argv[2]))
"""


class ChildDied(Exception):
    """The process ended, or gave no answer in time; the message says which, with 'a process' before it."""


class Child:
    """The process, as its parent sees it.

    Attributes:
        connection: becomes readable when there is something to receive, or when the process has ended.
    """

    def __init__(
        self,
        *,
        niceness: int = 0,
        is_silent: bool = False,
        ignores_sigterm: bool = False,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """Starts it.

        Args:
            niceness: number added to the niceness of this process.
            is_silent: its standard output and standard error are discarded.
            ignores_sigterm: it goes on until it is stopped; otherwise SIGTERM ends it by an exception.
            environment: variables in addition to those of this process.

        Raises:
            OSError: the system starts no more processes.
        """
        from cal_ratio_trainer.progress import environment_of_workers

        here, there = Pipe()
        output = subprocess.DEVNULL if is_silent else None
        try:
            with _blocked({signal.SIGINT, signal.SIGTERM} if ignores_sigterm else {signal.SIGINT}):
                self._process = subprocess.Popen(
                    [sys.executable, "-c", _PROGRAM, str(there.fileno()), str(niceness), *map(str, sys.path)],
                    pass_fds=[there.fileno()],
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    env={**os.environ, **environment_of_workers(), **(environment or {})},
                )
        except OSError:
            here.close()
            raise
        finally:
            # With this end open in both processes neither would notice the end of the other.
            there.close()
        self.connection: Connection[Any, Any] = here

    def send(self, task: Task) -> None:
        """Gives it a task.

        Raises:
            PICKLING_ERRORS: the task cannot be sent; nothing was.
            ChildDied: it has ended.
        """
        content = pickle.dumps(task)
        try:
            self.connection.send_bytes(content)
        except OSError as error:
            raise ChildDied(self._how_it_ended()) from error

    def receive(self, timeout_s: float | None = None) -> Done | tuple[int, int]:
        """Waits for its next message.

        Returns:
            The end of its task, without the task's key, or its progress: units done, and units in all.

        Raises:
            ChildDied: it ended, or says nothing for `timeout_s` seconds; it is of no use any more.
        """
        try:
            if not self.connection.poll(timeout_s):
                raise ChildDied(f"gave no answer for {timeout_s:.0f} s")
            said: Done | tuple[int, int] = self.connection.recv()
        except (EOFError, OSError) as error:
            raise ChildDied(self._how_it_ended()) from error
        return said

    def run(self, task: Task, timeout_s: float | None = None) -> Done:
        """Gives it a task and waits for the end of it; raises as `send` and `receive`."""
        self.send(task)
        while not isinstance(said := self.receive(timeout_s), Done):
            pass
        return said

    def terminate(self) -> None:
        """Sends SIGTERM."""
        self._process.terminate()

    def dismiss(self) -> None:
        """Lets it end after the task that it is doing; does not wait for that as `stop` does."""
        with suppress(OSError):
            self.connection.send_bytes(b"")

    def stop(self, patience_s: float = FAREWELL_S) -> None:
        """Ends it after the task that it is doing, which has `patience_s` seconds for that."""
        self.dismiss()
        self.connection.close()
        try:
            self._process.wait(patience_s)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """Ends it at once."""
        self.connection.close()
        self._process.kill()
        self._process.wait()

    def _how_it_ended(self) -> str:
        with suppress(subprocess.TimeoutExpired):
            return f"ended with status {self._process.wait(FAREWELL_S)}"
        return "does not listen any more"


@contextmanager
def _blocked(signals: set[signal.Signals]) -> Iterator[None]:
    """Blocks signals for processes that are started in the block, from their first moment on."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def serve(descriptor: int, niceness: int) -> None:
    """Main program of a child: does the tasks that come through a connection until its parent stops it or ends."""
    signal.signal(signal.SIGTERM, _end)
    with suppress(OSError):
        os.nice(niceness)
    connection: Connection[Any, Any] = Connection(descriptor)
    tasks: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(target=_receive, args=(connection, tasks), daemon=True, name="end with parent").start()
    lock = threading.Lock()

    def send(done: int, of: int) -> None:
        with lock:
            connection.send((done, of))

    try:
        # The parent may be gone, or have stopped listening.
        with suppress(OSError):
            while content := tasks.get():
                connection.send_bytes(_done(content, at_intervals(send, _REPORT_EVERY_S)))
    except SystemExit:
        # Without waiting for threads of libraries.
        os._exit(_TERMINATED)


def _receive(connection: "Connection[Any, Any]", tasks: "queue.SimpleQueue[bytes]") -> None:
    with suppress(EOFError, OSError):
        while content := connection.recv_bytes():
            tasks.put(content)
        tasks.put(b"")
        return
    os._exit(1)


def _done(content: bytes, report: Report) -> bytes:
    try:
        task: Task = pickle.loads(content)  # noqa: S301 - from the parent
    except Exception as error:
        return pickle.dumps(Done((0, 0), error=TaskFailed(f"cannot be read in another process: {error}")))
    try:
        result = task.run_in_worker(report)
    except Exception as error:
        return pickle.dumps(Done(task.key, error=error))
    try:
        return pickle.dumps(Done(task.key, result))
    except PICKLING_ERRORS as error:
        return pickle.dumps(Done(task.key, error=TaskFailed(f"its result cannot be sent to another process: {error}")))


def _end(number: int, frame: FrameType | None) -> None:
    # An exception, so that unfinished files are removed; raised once, since the signal may come twice.
    signal.signal(number, signal.SIG_IGN)
    sys.exit(_TERMINATED)
