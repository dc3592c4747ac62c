"""Communication between the processes that share one training.

Every process draws the same mini-batches and computes its share of each; the first process alone writes files, draws
and prints. A single process uses the plain `Ranks`, whose methods do nothing.

Waits that can be long use torchrun's key-value store, where a failing process leaves its error message. Collective
operations (gloo, NCCL), which notice a lost process only after a long timeout, run where all processes are known to be.
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

from cal_ratio_trainer.errors import ConfigError, EndedWithStatus, UserError
from cal_ratio_trainer.files.this_process import ProcessName, is_gone, this_process
from cal_ratio_trainer.jets.ragged import IndexArray
from cal_ratio_trainer.launching import ProcessRank, first_failure, place, store
from cal_ratio_trainer.workers.executor import available_cores

_MIN_POLL_S, _MAX_POLL_S = 0.001, 0.1
_FAILURE_REPORT_S = 5.0
"""Seconds that a lost process is given to leave its error message in the store."""
_LIVENESS_CHECK_S = 2.0
_COLLECTIVE_TIMEOUT = timedelta(hours=1)

_Answer = TypeVar("_Answer")


class OtherProcessFailed(EndedWithStatus):
    """Another process of this training failed or was lost; the exit status is its own."""


class ProcessesDiffer(UserError):
    """Processes of one training hold different values of something that must be equal in all of them."""


class Ranks:
    """A single process: all operations are trivial. `SeveralRanks` is one of several processes."""

    def __init__(self, here: ProcessRank | None = None) -> None:
        self.place = here or ProcessRank()

    @property
    def is_first(self) -> bool:
        """True in the process that writes files and prints."""
        return self.place.rank == 0

    @property
    def threads(self) -> int:
        """Default number of CPU threads of this process."""
        return torch.get_num_threads()

    def share(self, *lengths: int) -> IndexArray | None:
        """This process's share of some jets.

        Args:
            lengths: number of jets of each kind, one kind after the other; each kind is shared evenly.

        Returns:
            Ascending positions in the concatenation of all kinds; None for all jets.
        """
        return None

    def select_device(self, wanted: str) -> None:
        """Makes 'cuda' mean the GPU of this process. Raises ConfigError where there are fewer GPUs than processes."""

    def connect(self, device: torch.device) -> None:
        """Initialises collective operations once; waits for all processes.

        Raises:
            ConfigError: PyTorch was built without NCCL.
            ProcessesDiffer: some processes run on GPUs and others do not.
        """

    def barrier(self) -> None:
        """Waits until all processes have reached this call."""

    def broadcast_text(self, text: str = "") -> str:
        """Returns the first process's text in all processes; waits for it without a timeout."""
        return text

    def shut_down(self) -> None:
        """Ends the collaboration; followers that wait for another training end too."""

    def broadcast_bytes(self, content: bytes) -> bytes:
        """Returns the first process's content in all processes."""
        return content

    def all_reduce_max(self, number: int) -> int:
        """Largest number of all processes, reduced on the host."""
        return number

    def all_reduce_sum_(self, tensors: Sequence[Tensor]) -> None:
        """Replaces each tensor by its sum over the processes; all of one dtype."""

    def broadcast_(self, tensors: Sequence[Tensor]) -> None:
        """Replaces each tensor by that of the first process; all of one dtype."""

    def gather(self, own: Tensor, jets: int) -> Tensor:
        """Values of all jets, collected from every process's share.

        Args:
            own: [share, numbers], in the order of `share(jets)`.
            jets: number of jets of all shares.

        Returns:
            [jets, numbers] in the first process; empty in the others.
        """
        return own

    def require_equal(self, what: str, digest: str, remedy: str = "") -> None:
        """Checks that all processes hold the same value.

        Args:
            what: name of the value, for the error.
            digest: identifies the value.
            remedy: advice for the error.

        Raises:
            ProcessesDiffer: the value differs from that of the first process.
        """
        if self.broadcast_text(digest) != digest:
            raise ProcessesDiffer(
                f"process {self.place.rank} of {self.place.processes} does not have the same {what} as process 0"
                f"{'; ' * bool(remedy)}{remedy}"
            )


ALONE = Ranks()


def launched_ranks() -> Ranks:
    """The processes that torchrun started, this one among them; `ALONE` without torchrun."""
    return SeveralRanks(place()) if place().processes > 1 else ALONE


class SeveralRanks(Ranks):
    """One of several processes; all of them call the same methods in the same order.

    Every method that waits raises OtherProcessFailed where another process has failed or is lost.
    """

    def __init__(self, here: ProcessRank) -> None:
        super().__init__(here)
        self._messages = 0
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

    def select_device(self, wanted: str) -> None:
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
            return  # by an earlier training
        if device.type == "cuda" and not distributed.is_nccl_available():
            raise ConfigError(["this PyTorch has no NCCL, by which processes on GPUs talk; take --device cpu"])
        self.require_equal("kind of device", device.type)
        self.barrier()
        with self._collective():
            distributed.init_process_group(
                # Reductions on the host (gloo) never wait for the device.
                "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo",
                store=PrefixStore("collective", store()),
                rank=self.place.rank,
                world_size=self.place.processes,
                timeout=_COLLECTIVE_TIMEOUT,
            )

    def barrier(self) -> None:
        """See `Ranks`."""
        key = self._key()
        self._in_store(lambda: store().add(key, 1))
        self._wait(lambda: store().add(key, 0) >= self.place.processes)

    def broadcast_text(self, text: str = "") -> str:
        """See `Ranks`."""
        key = self._key()
        if self.is_first:
            self._in_store(lambda: store().set(key, text))
            return text
        self._wait(lambda: store().check([key]))
        return self._in_store(lambda: store().get(key)).decode()

    def shut_down(self) -> None:
        """See `Ranks`."""
        if self.is_first:
            self.broadcast_text(json.dumps(None))
        if distributed.is_initialized():
            distributed.destroy_process_group()

    def broadcast_bytes(self, content: bytes) -> bytes:
        """See `Ranks`."""
        length = int(self.broadcast_text(str(len(content))))
        buffer = torch.empty(length, dtype=torch.uint8)
        if self.is_first:
            buffer = torch.frombuffer(bytearray(content), dtype=torch.uint8)
        with self._collective():
            distributed.broadcast(buffer, src=0)
        return buffer.numpy().tobytes()

    def all_reduce_max(self, number: int) -> int:
        """See `Ranks`."""
        agreed = torch.tensor([number])
        with self._collective():
            distributed.all_reduce(agreed, distributed.ReduceOp.MAX)
        return int(agreed)

    def all_reduce_sum_(self, tensors: Sequence[Tensor]) -> None:
        """See `Ranks`."""
        flat = torch.cat([tensor.detach().flatten() for tensor in tensors])
        with self._collective():
            distributed.all_reduce(flat)
        _unflatten_into(tensors, flat)

    def broadcast_(self, tensors: Sequence[Tensor]) -> None:
        """See `Ranks`."""
        flat = torch.cat([tensor.detach().flatten() for tensor in tensors])
        with self._collective():
            distributed.broadcast(flat, src=0)
        if not self.is_first:
            _unflatten_into(tensors, flat)

    def gather(self, own: Tensor, jets: int) -> Tensor:
        """See `Ranks`."""
        processes = self.place.processes
        # Shares differ in length by at most one; gather needs equal lengths.
        sent = own.new_zeros(-(-jets // processes), *own.shape[1:])
        sent[: len(own)] = own
        parts = [torch.empty_like(sent) for _ in range(processes)] if self.is_first else None
        with self._collective():
            distributed.gather(sent, parts, dst=0)
        if parts is None:
            return own[:0]
        ends = [jets * rank // processes for rank in range(processes + 1)]
        return torch.cat([part[: ends[rank + 1] - ends[rank]] for rank, part in enumerate(parts)])

    def _key(self) -> str:
        self._messages += 1
        return f"message {self._messages}"

    def _wait(self, is_over: Callable[[], bool]) -> None:
        pause, looked = _MIN_POLL_S, time.monotonic()
        while not self._in_store(is_over):
            if (failure := self._in_store(first_failure)) is not None:
                raise OtherProcessFailed(failure.sentence, failure.status)
            if time.monotonic() - looked > _LIVENESS_CHECK_S:
                if self._in_store(self._is_one_gone):
                    raise self._failure_of_other()
                looked = time.monotonic()
            time.sleep(pause)
            pause = min(1.5 * pause, _MAX_POLL_S)

    def _is_one_gone(self) -> bool:
        """True where a process on this machine has ended; on other machines torchrun itself ends, and its store."""
        keys = [key for key in map(_process_key, range(self.place.processes)) if store().check([key])]
        return any(is_gone(ProcessName.from_json(json.loads(store().get(key)))) for key in keys)

    def _in_store(self, ask: Callable[[], _Answer]) -> _Answer:
        try:
            return ask()
        except RuntimeError as error:
            raise OtherProcessFailed(f"torchrun is gone, and the other processes with it ({error})", 1) from error

    @contextmanager
    def _collective(self) -> Iterator[None]:
        """Turns the connection error of a collective operation into the failure of the lost process."""
        try:
            yield
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            raise self._failure_of_other(f" ({str(error).partition('. ')[0]})") from error

    def _failure_of_other(self, detail: str = "") -> OtherProcessFailed:
        end = time.monotonic() + _FAILURE_REPORT_S
        while time.monotonic() < end:
            if (failure := self._in_store(first_failure)) is not None:
                return OtherProcessFailed(failure.sentence, failure.status)
            time.sleep(_MAX_POLL_S)
        return OtherProcessFailed(
            f"a process of this training is gone without a word: killed, out of memory, or its machine is lost{detail}",
            1,
        )


def _process_key(rank: int) -> str:
    return f"process {rank}"


def _unflatten_into(tensors: Sequence[Tensor], flat: Tensor) -> None:
    with torch.no_grad():
        parts = torch.split(flat, [tensor.numel() for tensor in tensors])
        for tensor, part in zip(tensors, parts, strict=True):
            tensor.copy_(part.view_as(tensor))
