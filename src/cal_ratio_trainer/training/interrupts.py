"""SIGTERM and ^C end a training after the step it is in, with a checkpoint."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

from cal_ratio_trainer.errors import UserError

EXIT_TERMINATED = 75
"""Exit status after SIGTERM: not finished, `--continue` goes on (the 'temporary failure' of sysexits.h)."""

EXIT_INTERRUPTED = 130
"""Exit status after ^C, as shells have it."""


class TrainingStopped(UserError):
    """A signal ended the training; everything up to the last step is in the checkpoint."""

    def __init__(self, message: str, exit_status: int) -> None:
        self.exit_status = exit_status
        super().__init__(message)


@dataclass
class StopRequest:
    """Which signal has asked to stop, if any."""

    signal_number: int | None = None

    @property
    def exit_status(self) -> int:
        """The exit status that belongs to the signal."""
        return EXIT_INTERRUPTED if self.signal_number == signal.SIGINT else EXIT_TERMINATED


@contextmanager
def stop_requests() -> Iterator[StopRequest]:
    """Catch SIGTERM and SIGINT inside the block; the second ^C interrupts at once, as if nothing was caught."""
    request = StopRequest()

    def take_note(signal_number: int, frame: FrameType | None) -> None:
        if request.signal_number == signal.SIGINT == signal_number:
            raise KeyboardInterrupt
        request.signal_number = signal_number

    before = {number: signal.signal(number, take_note) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
