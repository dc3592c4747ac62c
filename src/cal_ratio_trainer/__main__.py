"""`cr_trainer`, also as `python -m cal_ratio_trainer`."""

import os
import signal
import threading
from types import FrameType

_INTERRUPTED = 130


def main() -> None:
    """Run the command line; ^C while it is being imported ends it as later on: with a word, and no traceback."""
    is_ours = (
        threading.current_thread() is threading.main_thread()
        and signal.getsignal(signal.SIGINT) is signal.default_int_handler
    )
    if is_ours:
        signal.signal(signal.SIGINT, _leave)
    from cal_ratio_trainer.cli.main import main as command_line

    if is_ours:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    command_line()


def _leave(number: int, frame: FrameType | None) -> None:
    # No exception: a module that is half imported might catch it.
    os.write(2, b"interrupted\n")
    os._exit(_INTERRUPTED)


if __name__ == "__main__":
    main()
