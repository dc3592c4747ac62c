"""`cr_trainer`, also as `python -m cal_ratio_trainer`."""

import os
import signal
from types import FrameType

_INTERRUPTED = 130


def main() -> None:
    """Run the command line; ^C while it is being imported ends it as later on: with a word, and no traceback."""
    before = signal.getsignal(signal.SIGINT)
    if before is signal.default_int_handler:
        signal.signal(signal.SIGINT, _leave)
    from cal_ratio_trainer.cli.main import main as command_line

    signal.signal(signal.SIGINT, before)
    command_line()


def _leave(number: int, frame: FrameType | None) -> None:
    # No exception: a module that is half imported might catch it.
    os.write(2, b"interrupted\n")
    os._exit(_INTERRUPTED)


if __name__ == "__main__":
    main()
