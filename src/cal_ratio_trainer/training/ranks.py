"""The processes that one training is spread over, and all that they tell each other.

Every process draws the same mini-batches and works on its share of each; the first writes, draws and speaks. A process
alone is the plain `Ranks`, for which nothing here has anything to do.

Waiting that can take long goes by the store that torchrun keeps, where a process that fails leaves word why; collective
operations, in which a missing process would be missed for long, come only where all are known to be.
"""

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor, distributed

from cal_ratio_trainer.errors import ConfigError, UserError
from cal_ratio_trainer.files.this_process import ProcessName, is_gone, this_process
from cal_ratio_trainer.launching import Place, first_failure, place, store
from cal_ratio_trainer.network.packing import IndexArray
from cal_ratio_trainer.workers.processes import available_cores

_SHORTEST_WAIT_S, _LONGEST_WAIT_S = 0.001, 0.1
_LAST_WORDS_S = 5.0
_LOOK_AFTER_OTHERS_S = 2.0
_TIMEOUT = timedelta(hours=1)

_Answer = TypeVar("_Answer")


class OtherProcessFailed(UserError):
    """Another process of this training failed or was lost; `exit_status` is its own."""

    def __init__(self, message: str, exit_status: int) -> None:
        self.exit_status = exit_status
        super().__init__(message)


class ProcessesDiffer(UserError):
    """Processes of one training do not have the same of something that all must have the same of."""


class Ranks:
    """One process alone, in which nothing has to be done; `SeveralRanks` is one of several."""

    def __init__(self, here: Place | None = None) -> None:
        self.place = here or Place()

    @property
    def is_first(self) -> bool:
        """True in the process that writes and speaks."""
        return self.place.rank == 0

    @property
    def threads(self) -> int:
        """CPU threads that this process takes where nothing else is said."""
        return torch.get_num_threads()

    def share(self, *lengths: int) -> IndexArray | None:
        """Which of some jets are this process's.

        Args:
            lengths: how many jets there are of each kind, one kind after the other; each is shared evenly.

        Returns:
            Rising positions in all of them; None for all.
        """
        return None

    def take_device(self, wanted: str) -> None:
        """Make the GPU of this process the one that 'cuda' means. Raises ConfigError where there are too few."""

    def connect(self, device: torch.device) -> None:
        """Make ready for collective operations, where that is not done yet; waits until all processes are there.

        Raises:
            ConfigError: PyTorch lacks what they need on GPUs.
            ProcessesDiffer: some run on GPUs and others do not.
        """

    def meet(self) -> None:
        """Wait until all processes are here."""

    def word_of_first(self, word: str) -> str:
        """What the first process says here; waits for it however long it takes."""
        return word

    def part(self) -> None:
        """The end of all that is done together; the first says so to those that wait for its next word."""

    def bytes_of_first(self, content: bytes) -> bytes:
        """What the first process has."""
        return content

    def largest(self, number: int) -> int:
        """The largest of the processes' numbers, agreed on the host."""
        return number

    def sum_(self, tensors: Sequence[Tensor]) -> None:
        """Put in place of each tensor its sum over the processes; all of one type."""

    def copy_first_(self, tensors: Sequence[Tensor]) -> None:
        """Put in place of each tensor that of the first process; all of one type."""

    def gathered(self, own: Tensor, jets: int) -> Tensor:
        """Values of all jets, put together from those of every process's share.

        Args:
            own: [share, numbers], in the order of `share(jets)`.
            jets: how many there are in all.

        Returns:
            [jets, numbers] in the first process; empty in the others.
        """
        return own

    def refuse_difference(self, what: str, word: str, remedy: str = "") -> None:
        """See that all processes have the same of something.

        Args:
            what: it is, for the error.
            word: that tells this process's from others.
            remedy: what can be done about a difference.

        Raises:
            ProcessesDiffer: this one does not have what the first one has.
        """
        if self.word_of_first(word) != word:
            raise ProcessesDiffer(
                f"process {self.place.rank} of {self.place.processes} does not have the same {what} as process 0"
                f"{'; ' * bool(remedy)}{remedy}"
            )


ALONE = Ranks()


def joined() -> Ranks:
    """This process among those that torchrun started with it."""
    return SeveralRanks(place()) if place().processes > 1 else ALONE


class SeveralRanks(Ranks):
    """One of several processes; all call the same methods in the same order.

    Every method that waits raises OtherProcessFailed where a process that it would wait for is gone.
    """

    def __init__(self, here: Place) -> None:
        super().__init__(here)
        self._told = 0
        name = json.dumps(this_process().as_json())
        self._in_store(lambda: store().set(_process_key(here.rank), name))

    @property
    def threads(self) -> int:
        """See `Ranks`."""
        return max(1, available_cores() // self.place.local_processes)

    def share(self, *lengths: int) -> IndexArray | None:
        """See `Ranks`."""
        rank, processes = self.place.rank, self.place.processes
        begins = np.cumsum(lengths) - lengths
        edges = [[length * number // processes for number in (rank, rank + 1)] for length in lengths]
        parts = [np.arange(*each, dtype=np.int64) + begin for each, begin in zip(edges, begins, strict=True)]
        return np.concatenate(parts)

    def take_device(self, wanted: str) -> None:
        """See `Ranks`."""
        if wanted == "cpu" or not torch.cuda.is_available():
            return
        if torch.cuda.device_count() < self.place.local_processes:
            raise ConfigError(
                [
                    f"torchrun started {self.place.local_processes} processes on a machine with "
                    f"{torch.cuda.device_count()} GPUs; each needs one of its own: take a smaller --nproc_per_node, or "
                    "--device cpu"
                ]
            )
        torch.cuda.set_device(self.place.local_rank)

    def connect(self, device: torch.device) -> None:
        """See `Ranks`."""
        from torch.distributed import PrefixStore  # type: ignore[attr-defined]  # some builds of PyTorch have none

        if distributed.is_initialized():
            return  # for an earlier training
        if device.type == "cuda" and not distributed.is_nccl_available():
            raise ConfigError(["this PyTorch has no NCCL, by which processes on GPUs talk; take --device cpu"])
        self.refuse_difference("kind of device", device.type)
        self.meet()
        with self._together():
            distributed.init_process_group(
                # What is agreed on the host never waits for the device.
                "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo",
                store=PrefixStore("collective", store()),
                rank=self.place.rank,
                world_size=self.place.processes,
                timeout=_TIMEOUT,
            )

    def meet(self) -> None:
        """See `Ranks`."""
        key = self._key()
        self._in_store(lambda: store().add(key, 1))
        self._wait(lambda: store().add(key, 0) >= self.place.processes)

    def word_of_first(self, word: str) -> str:
        """See `Ranks`."""
        key = self._key()
        if self.is_first:
            self._in_store(lambda: store().set(key, word))
            return word
        self._wait(lambda: store().check([key]))
        return self._in_store(lambda: store().get(key)).decode()

    def part(self) -> None:
        """See `Ranks`."""
        if self.is_first:
            self.word_of_first(json.dumps(None))
        if distributed.is_initialized():
            distributed.destroy_process_group()

    def bytes_of_first(self, content: bytes) -> bytes:
        """See `Ranks`."""
        length = int(self.word_of_first(str(len(content))))
        buffer = torch.empty(length, dtype=torch.uint8)
        if self.is_first:
            buffer = torch.frombuffer(bytearray(content), dtype=torch.uint8)
        with self._together():
            distributed.broadcast(buffer, src=0)
        return buffer.numpy().tobytes()

    def largest(self, number: int) -> int:
        """See `Ranks`."""
        agreed = torch.tensor([number])
        with self._together():
            distributed.all_reduce(agreed, distributed.ReduceOp.MAX)
        return int(agreed)

    def sum_(self, tensors: Sequence[Tensor]) -> None:
        """See `Ranks`."""
        flat = torch.cat([tensor.detach().flatten() for tensor in tensors])
        with self._together():
            distributed.all_reduce(flat)
        _take_over(tensors, flat)

    def copy_first_(self, tensors: Sequence[Tensor]) -> None:
        """See `Ranks`."""
        flat = torch.cat([tensor.detach().flatten() for tensor in tensors])
        with self._together():
            distributed.broadcast(flat, src=0)
        if not self.is_first:
            _take_over(tensors, flat)

    def gathered(self, own: Tensor, jets: int) -> Tensor:
        """See `Ranks`."""
        processes = self.place.processes
        # Shares differ in length by at most one, and what is sent must not.
        sent = own.new_zeros(-(-jets // processes), *own.shape[1:])
        sent[: len(own)] = own
        parts = [torch.empty_like(sent) for _ in range(processes)] if self.is_first else None
        with self._together():
            distributed.gather(sent, parts, dst=0)
        if parts is None:
            return own[:0]
        ends = [jets * rank // processes for rank in range(processes + 1)]
        return torch.cat([part[: ends[rank + 1] - ends[rank]] for rank, part in enumerate(parts)])

    def _key(self) -> str:
        self._told += 1
        return f"word {self._told}"

    def _wait(self, is_over: Callable[[], bool]) -> None:
        pause, looked = _SHORTEST_WAIT_S, time.monotonic()
        while not self._in_store(is_over):
            if (failure := self._in_store(first_failure)) is not None:
                raise OtherProcessFailed(failure.sentence, failure.status)
            if time.monotonic() - looked > _LOOK_AFTER_OTHERS_S:
                if self._in_store(self._one_is_gone):
                    raise self._why_it_is_gone()
                looked = time.monotonic()
            time.sleep(pause)
            pause = min(1.5 * pause, _LONGEST_WAIT_S)

    def _one_is_gone(self) -> bool:
        """Whether a process on this machine has ended; where one elsewhere has, torchrun ends there and its store."""
        keys = [key for key in map(_process_key, range(self.place.processes)) if store().check([key])]
        return any(is_gone(ProcessName.from_json(json.loads(store().get(key)))) for key in keys)

    def _in_store(self, ask: Callable[[], _Answer]) -> _Answer:
        try:
            return ask()
        except RuntimeError as error:
            raise OtherProcessFailed(f"torchrun is gone, and the other processes with it ({error})", 1) from error

    @contextmanager
    def _together(self) -> Iterator[None]:
        """Around a collective operation: a process that is gone shows as an error of the connection to it."""
        try:
            yield
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            raise self._why_it_is_gone(f" ({str(error).partition('. ')[0]})") from error

    def _why_it_is_gone(self, detail: str = "") -> OtherProcessFailed:
        end = time.monotonic() + _LAST_WORDS_S
        while time.monotonic() < end:
            if (failure := self._in_store(first_failure)) is not None:
                return OtherProcessFailed(failure.sentence, failure.status)
            time.sleep(_LONGEST_WAIT_S)
        return OtherProcessFailed(
            f"a process of this training is gone without a word: killed, out of memory, or its machine is lost{detail}",
            1,
        )


def _process_key(rank: int) -> str:
    return f"process {rank}"


def _take_over(tensors: Sequence[Tensor], flat: Tensor) -> None:
    with torch.no_grad():
        parts = torch.split(flat, [tensor.numel() for tensor in tensors])
        for tensor, part in zip(tensors, parts, strict=True):
            tensor.copy_(part.view_as(tensor))
