"""SIGTERM and ^C end a training after the step it is in, with a checkpoint."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

from cal_ratio_trainer.errors import EXIT_INTERRUPTED, EndedWithStatus

EXIT_TERMINATED = 75
"""Exit status after SIGTERM: not finished, `--continue` goes on (the 'temporary failure' of sysexits.h)."""

NOTHING_CHANGED = "stopped before the training began; nothing was changed"


class TrainingStopped(EndedWithStatus):
    """A signal ended the training; everything up to the last step is in the checkpoint."""


@dataclass
class StopRequest:
    """The signal that has asked to stop, if any."""

    signal_number: int | None = None

    @property
    def exit_status(self) -> int:
        """The exit status that belongs to the signal."""
        return EXIT_INTERRUPTED if self.signal_number == signal.SIGINT else EXIT_TERMINATED


@contextmanager
def stopped_at_once() -> Iterator[None]:
    """Raises TrainingStopped on SIGTERM inside the block: before the first step there is nothing to complete.

    The interrupted code may swallow the exception or replace it by another one, as imports do; the block ends with
    TrainingStopped in any case.
    """
    owner, asked = os.getpid(), False

    def stop(signal_number: int, frame: FrameType | None) -> None:
        if os.getpid() != owner:
            # A worker process that inherited this handler ends as it would have without.
            signal.signal(signal_number, signal.SIG_DFL)
            os.kill(os.getpid(), signal_number)
            return
        nonlocal asked
        asked = True
        raise TrainingStopped(NOTHING_CHANGED, EXIT_TERMINATED)

    if threading.current_thread() is not threading.main_thread():
        # Python runs signal handlers in the main thread only.
        yield
        return
    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    except Exception as error:
        if not asked or isinstance(error, TrainingStopped):
            raise
    finally:
        signal.signal(signal.SIGTERM, before)
    if asked:
        raise TrainingStopped(NOTHING_CHANGED, EXIT_TERMINATED)


@contextmanager
def stop_requests() -> Iterator[StopRequest]:
    """Catches SIGTERM and SIGINT inside the block; the second ^C raises KeyboardInterrupt.

    Outside the main thread nothing is caught: Python runs signal handlers there only.
    """
    request, caught = StopRequest(), set[int]()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return

    def record_signal(signal_number: int, frame: FrameType | None) -> None:
        # The request may hold another process's signal, so this process counts its own.
        if signal_number == signal.SIGINT and signal_number in caught:
            raise KeyboardInterrupt
        caught.add(signal_number)
        request.signal_number = signal_number

    before = {number: signal.signal(number, record_signal) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
