"""Rank of this process among those that torchrun starts, and one common output, error message and exit status.

PyTorch is imported only if the processes exchange messages, because the command line imports this module first.
"""

import json
import os
import sys
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from cal_ratio_trainer.errors import harmless

if TYPE_CHECKING:
    from torch.distributed import Store  # type: ignore[attr-defined]

_VARIABLES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
_STORE_TIMEOUT = timedelta(minutes=1)


@dataclass(frozen=True)
class ProcessRank:
    """Rank of a process among those that torchrun started for the same command.

    Attributes:
        rank: Number of this process; rank 0 writes the files and prints.
        processes: Number of processes on all machines.
        local_rank, local_processes: The same for the processes on this machine.
        nodes: Number of machines.
    """

    rank: int = 0
    processes: int = 1
    local_rank: int = 0
    local_processes: int = 1
    nodes: int = 1


@dataclass(frozen=True)
class Failure:
    """Error of the first process that failed: the exit status of all processes, and a sentence."""

    status: int
    sentence: str


@cache
def place() -> ProcessRank:
    """Returns the rank of this process; the default without torchrun or if torchrun started one process."""
    words = [os.environ.get(name) for name in _VARIABLES]
    if not all(words) or words[1] == "1":
        return ProcessRank()
    rank, processes, local_rank, local_processes = (int(word or 0) for word in words[:4])
    nodes = int(os.environ.get("GROUP_WORLD_SIZE") or -(-processes // local_processes))
    return ProcessRank(rank, processes, local_rank, local_processes, nodes)


def silence_other_ranks() -> None:
    """Redirects the output of all processes but rank 0 to the null device."""
    if place().rank:
        sys.stdout = sys.stderr = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 (until the process ends)


def open_closed_streams() -> None:
    """Opens closed standard streams (`2>&-`) on the null device, before other files get their descriptors."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            # open() takes the lowest free descriptor, which is this one. Child processes inherit it.
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115 (until the process ends)


def error_of_output(name: Literal["stdout", "stderr"] = "stdout") -> OSError | None:
    """Flushes a standard stream; returns the error and drops the rest of the text if that fails, else None."""
    stream = getattr(sys, name)
    try:
        stream.flush()
    except OSError as error:
        # Python flushes once more when it exits, and would print a traceback.
        with suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        return error
    return None


def report_failure(sentence: str, status: int) -> int:
    """Prints the reason why the command ends. Of several processes only the first one that fails prints it.

    Returns:
        The exit status of the first process that failed.
    """
    if place().processes == 1:
        # If standard error cannot be written, the exit status still reports the failure.
        with suppress(OSError):
            print(sentence, file=sys.stderr, flush=True)
        return status
    first = _earlier_failure(Failure(status, sentence))
    if first is None:
        with suppress(OSError):
            print(harmless(sentence), file=sys.__stderr__ or sys.stderr, flush=True)
    return first.status if first else status


def exit_process(status: int) -> None:
    """Ends this process; with an error in one of several processes, at once and without a final barrier."""
    for name in ("stdout", "stderr"):
        error_of_output(name)
    if status and place().processes > 1:
        for stream in (sys.stdout, sys.stderr, sys.__stderr__):
            if stream is not None:
                with suppress(OSError):
                    stream.flush()
        os._exit(status)
    sys.exit(status)


@cache
def store() -> "Store":
    """Returns the key-value store that torchrun keeps for the processes of a command.

    Raises:
        RuntimeError: The store does not answer.
    """
    from torch.distributed import PrefixStore, rendezvous  # type: ignore[attr-defined]

    found, _, _ = next(rendezvous("env://", timeout=_STORE_TIMEOUT))
    # Processes that torchrun restarts after a failure get an empty store.
    return PrefixStore(f"cal_ratio_trainer/{os.environ.get('TORCHELASTIC_RESTART_COUNT', 0)}", found)


def first_failure() -> Failure | None:
    """Returns the failure in the store, None if no process failed.

    Raises:
        RuntimeError: The store does not answer.
    """
    if not store().check(["failure"]):
        return None
    return Failure(**json.loads(store().get("failure")))


def _earlier_failure(failure: Failure) -> Failure | None:
    """Returns the failure of an earlier process; if there is none, stores this one for the others and returns None."""
    # Without a store each process prints its own message: twice is better than not at all.
    with suppress(RuntimeError):
        if store().add("failures", 1) != 1:
            return first_failure() or failure
        store().set("failure", json.dumps(asdict(failure)))
    return None
