"""torchrun with two processes, all forked from one that has already imported everything.

A start from nothing imports PyTorch three times, which takes most of the time of so small a training. Here torchrun's
own program runs, and what it would start are forks that wait from before its first thread.
"""

import os
import pickle
import runpy
import subprocess
import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from torch.distributed import run as torch_run
from torch.distributed.elastic.multiprocessing.subprocess_handler import subprocess_handler

from tests.faults import forking_context
from tests.faults.commands import redirect_output

LAUNCHER = ("--standalone", "--nproc_per_node", "2")


@dataclass(frozen=True)
class Forked:
    """A running torchrun: its process, and the files of its standard output and error."""

    process: BaseProcess
    out: Path
    error: Path

    @property
    def pid(self) -> int:
        """Number of torchrun's process, whose children are the processes of the command by rank."""
        assert self.process.pid is not None
        return self.process.pid

    def poll(self) -> int | None:
        """Exit status; None while it runs."""
        return self.process.exitcode

    def finished(self, patience_s: float) -> tuple[int, str, str]:
        """Waits for the end; returns exit status, standard output and standard error."""
        self.process.join(patience_s)
        assert self.process.exitcode is not None, f"torchrun did not end in {patience_s:.0f} s"
        return self.process.exitcode, self.out.read_text("utf-8"), self.error.read_text("utf-8")


def start_forked(folder: Path, *words: str) -> Forked:
    """Starts two processes under torchrun with the words that follow its own options; writes output to `folder`."""
    out, error = folder / "torchrun.out", folder / "torchrun.err"
    process = forking_context().Process(target=_launch, args=(words, out, error))
    process.start()
    return Forked(process, out, error)


def _launch(words: Sequence[str], out: Path, error: Path) -> None:
    # torchrun prints a message if this is not set.
    os.environ["OMP_NUM_THREADS"] = "1"
    redirect_output(out, error)
    waiting = [_waiting_process() for _ in range(2)]

    class Waiting(subprocess.Popen[bytes]):
        """A process that waits already, in place of a new one."""

        def _execute_child(self, args: Sequence[str], *others: Any) -> None:
            self.pid, begin = waiting.pop(0)
            begin(args[2:], others[5])  # what follows `python -u`, and the environment
            self._child_created = True

    subprocess_handler.Popen = Waiting  # type: ignore[attr-defined, assignment]
    torch_run.main([*LAUNCHER, *words])


def _waiting_process() -> tuple[int, Callable[[Sequence[str], dict[str, str]], None]]:
    """Forks a process that runs a program once it is told; returns its number and the function that tells it."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid:
        os.close(reading)

        def begin(program: Sequence[str], environment: dict[str, str]) -> None:
            with os.fdopen(writing, "wb") as pipe:
                pickle.dump((list(program), environment), pipe)

        return pid, begin
    os.close(writing)
    status = 1
    try:
        with os.fdopen(reading, "rb") as pipe:
            program, environment = pickle.load(pipe)  # noqa: S301 (from the parent process)
        os.setsid()
        os.environ.clear()
        os.environ |= environment
        if program[0] == "-m":
            sys.argv = program[1:]
            runpy.run_module(program[1], run_name="__main__", alter_sys=True)
        else:
            sys.argv = program
            runpy.run_path(program[0], run_name="__main__")
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    except EOFError:
        status = 0  # torchrun ended before it needed this process
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    raise AssertionError
