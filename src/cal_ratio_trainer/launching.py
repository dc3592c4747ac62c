"""Processes that torchrun starts side by side for one command: which this one is, and how they speak with one voice.

PyTorch is imported only where they have something to tell each other: the command line reads this before anything else.
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
_PATIENCE = timedelta(minutes=1)


@dataclass(frozen=True)
class Place:
    """Where a process stands among those that torchrun started for the same command.

    Attributes:
        rank: its number among all; the first, 0, writes and speaks.
        processes: how many there are.
        local_rank, local_processes: the same among those on its machine.
        nodes: on how many machines they are.
    """

    rank: int = 0
    processes: int = 1
    local_rank: int = 0
    local_processes: int = 1
    nodes: int = 1


@dataclass(frozen=True)
class Failure:
    """Why the first process to fail did: the exit status of all, and a sentence."""

    status: int
    sentence: str


@cache
def place() -> Place:
    """Where this process stands; a process that torchrun did not start, or that it started alone, has no others."""
    words = [os.environ.get(name) for name in _VARIABLES]
    if not all(words) or words[1] == "1":
        return Place()
    rank, processes, local_rank, local_processes = (int(word or 0) for word in words[:4])
    nodes = int(os.environ.get("GROUP_WORLD_SIZE") or -(-processes // local_processes))
    return Place(rank, processes, local_rank, local_processes, nodes)


def be_quiet_unless_first() -> None:
    """Of several processes only the first says what it does; what it says is true of all."""
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
    """Flushes a standard stream; returns the error and drops the rest of the text where that fails, else None."""
    stream = getattr(sys, name)
    try:
        stream.flush()
    except OSError as error:
        # Python flushes once more when it exits, and would print a traceback.
        with suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        return error
    return None


def failed(sentence: str, status: int) -> int:
    """Say why the command ends. Of several processes the first one that fails says it, whichever that is.

    Returns:
        The exit status: that of the first one.
    """
    if place().processes == 1:
        # Where standard error cannot be written, the exit status still tells of the failure.
        with suppress(OSError):
            print(sentence, file=sys.stderr, flush=True)
        return status
    first = _first_to_fail(Failure(status, sentence))
    if first is None:
        with suppress(OSError):
            print(harmless(sentence), file=sys.__stderr__ or sys.stderr, flush=True)
    return first.status if first else status


def leave(status: int) -> None:
    """End this process; where one of several fails, without waiting for what the others will not answer any more."""
    error_of_output("stderr")
    if status and place().processes > 1:
        for stream in (sys.stdout, sys.stderr, sys.__stderr__):
            if stream is not None:
                with suppress(OSError):
                    stream.flush()
        os._exit(status)
    sys.exit(status)


@cache
def store() -> "Store":
    """Where the processes of a command leave word for each other: torchrun keeps it for as long as it runs.

    Raises:
        RuntimeError: it does not answer.
    """
    from torch.distributed import PrefixStore, rendezvous  # type: ignore[attr-defined]

    found, _, _ = next(rendezvous("env://", timeout=_PATIENCE))
    # Processes that are started again after a failure begin with nothing.
    return PrefixStore(f"cal_ratio_trainer/{os.environ.get('TORCHELASTIC_RESTART_COUNT', 0)}", found)


def first_failure() -> Failure | None:
    """What the first process that failed left word of. Raises RuntimeError where the store does not answer."""
    if not store().check(["failure"]):
        return None
    return Failure(**json.loads(store().get("failure")))


def _first_to_fail(failure: Failure) -> Failure | None:
    """The failure that came before this one; None where this is the first, which is made known to the others."""
    # Where nobody is there to be told it is better said twice than not at all.
    with suppress(RuntimeError):
        if store().add("failures", 1) != 1:
            return first_failure() or failure
        store().set("failure", json.dumps(asdict(failure)))
    return None
