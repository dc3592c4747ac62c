"""`cr_trainer`, also as `python -m cal_ratio_trainer`."""

import os
import signal
import threading
from types import FrameType

_INTERRUPTED = 130


def main() -> None:
    """Runs the command line; Ctrl-C during the imports also ends it with one word and no traceback."""
    is_ours = (
        threading.current_thread() is threading.main_thread()
        and signal.getsignal(signal.SIGINT) is signal.default_int_handler
    )
    if is_ours:
        signal.signal(signal.SIGINT, _exit_on_interrupt)
    from cal_ratio_trainer.cli.main import main as command_line

    if is_ours:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    command_line()


def _exit_on_interrupt(number: int, frame: FrameType | None) -> None:
    # Raises no exception, since a half-imported module might catch it.
    os.write(2, b"interrupted\n")
    os._exit(_INTERRUPTED)


if __name__ == "__main__":
    main()
