"""Place of the jets' constituents during a training: on the device, in the host's memory, or on disk.

Jets that do not lie on the device are gathered and copied to it batch by batch, ahead of the step that reads them.
"""

import shutil
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cal_ratio_trainer.config.training import TrainSettings
from cal_ratio_trainer.datasets.memory import USABLE, StepSize, free_bytes, size_text
from cal_ratio_trainer.datasets.sample import TrainingData
from cal_ratio_trainer.datasets.splits import Part
from cal_ratio_trainer.files.cache import default_cache_path
from cal_ratio_trainer.jets.filling import NoRoomOnDisk
from cal_ratio_trainer.jets.ragged import IndexArray
from cal_ratio_trainer.network.batch import Batch, JetTensors
from cal_ratio_trainer.network.domain.base import domain_loss_named
from cal_ratio_trainer.workers.executor import prefetched

_FLOAT = 4


@dataclass(frozen=True)
class GatheredJets:
    """The constituents of some jets.

    Attributes:
        jets: [n] int64, which jets, rising, each once.
        values: for each branch [constituents + 1, inputs], on the device.
        offsets: for each branch [n + 1], on the host.
        copied: when the values are there, where that is not yet so.
    """

    jets: IndexArray
    values: Mapping[str, Tensor]
    offsets: Mapping[str, IndexArray]
    copied: "torch.cuda.Event | None" = None

    def places(self, jets: IndexArray) -> IndexArray | None:
        """Positions of jets [m] among these; None if one is missing."""
        places = np.searchsorted(self.jets, jets)
        there = np.all(self.jets.take(places, mode="clip") == jets) if len(self.jets) else len(jets) == 0
        return places.astype(np.int64) if there else None


class _Coming:
    """Constituents gathered for the current batch, and those being gathered for the next ones."""

    def __init__(self) -> None:
        self._gathered: Generator[GatheredJets, None, None] | None = None
        self._near: list[GatheredJets] = []

    def start(self, gathered: Generator[GatheredJets, None, None]) -> None:
        """Replaces the announced batches."""
        self.stop()
        self._gathered = gathered

    def stop(self) -> None:
        """Ends the gathering and frees what was gathered."""
        if self._gathered is not None:
            self._gathered.close()
        self._gathered, self._near = None, []

    def holding(self, jets: IndexArray) -> tuple[GatheredJets, IndexArray] | None:
        """Gathered batch with the jets, and their positions; None if neither the last nor the next one has them."""
        for position, near in enumerate(self._near):
            if (places := near.places(jets)) is not None:
                del self._near[:position]
                return near, places
        following = next(self._gathered, None) if self._gathered is not None and len(self._near) < 2 else None
        if following is None:
            return None
        self._near.append(following)
        if (places := following.places(jets)) is None:
            return None
        del self._near[:-1]
        return following, places


@dataclass(frozen=True)
class DistantJets(JetTensors):
    """`JetTensors` with `values` on the host."""

    _coming: _Coming = field(default_factory=_Coming, repr=False, compare=False)

    @staticmethod
    def placed(values: Tensor, device: torch.device) -> Tensor:
        """Values of a branch where they are."""
        return values

    def batch(self, jets: IndexArray, share: IndexArray | None = None) -> Batch:
        """See `JetTensors`; gathered at once where the jets were not expected."""
        chosen = jets if share is None else jets[share]
        gathered, places = self._coming.holding(chosen) or self._found(chosen)
        return self._batch_of(gathered, places, jets, share)

    def batches(self, pieces: Sequence[IndexArray]) -> Iterator[Batch]:
        """See `JetTensors`; each is gathered while the one before is used."""
        for jets, (gathered, places) in zip(pieces, prefetched(lambda: map(self._found, pieces)), strict=True):
            yield self._batch_of(gathered, places, jets)

    def expect(self, jets: Sequence[IndexArray]) -> None:
        """See `JetTensors`."""
        if not jets:
            # A waiting generator would hold the jets until the garbage collector finds its reference cycle.
            self._coming.stop()
            return
        self._coming.start(prefetched(lambda: map(self._gather, jets)))

    @property
    def gathers(self) -> bool:
        """See `JetTensors`."""
        return True

    @property
    def bytes_on_device(self) -> int:
        """See `JetTensors`."""
        return sum(each.nbytes for each in self._own)

    def _found(self, jets: IndexArray) -> tuple[GatheredJets, IndexArray]:
        gathered = self._gather(jets)
        return gathered, np.searchsorted(gathered.jets, jets).astype(np.int64)

    def _batch_of(
        self, gathered: GatheredJets, places: IndexArray, jets: IndexArray, share: IndexArray | None = None
    ) -> Batch:
        if gathered.copied is not None:
            stream = torch.cuda.current_stream(self.device)
            stream.wait_event(gathered.copied)
            for values in gathered.values.values():
                # They were made on another stream: their memory is free again only when this one is done with them.
                values.record_stream(stream)
        return self.assembled(gathered.values, gathered.offsets, places, jets, share)

    def _gather(self, jets: IndexArray) -> GatheredJets:
        chosen = np.unique(jets)
        found = {kind.name: self._constituents(chosen, kind.name, kind.limit) for kind in self.schema.constituents}
        values = {name: each[0] for name, each in found.items()}
        offsets = {name: each[1] for name, each in found.items()}
        if self.device.type != "cuda":
            return GatheredJets(chosen, values, offsets)
        stream = _copying(self.device)
        with torch.cuda.stream(stream):
            moved = {name: each.to(self.device, non_blocking=True) for name, each in values.items()}
        return GatheredJets(chosen, moved, offsets, stream.record_event())

    def _constituents(self, jets: IndexArray, name: str, slots: int) -> tuple[Tensor, IndexArray]:
        """Values [constituents + 1, inputs] and offsets [jets + 1] of some jets; `jets` rising.

        A jet's constituents are read together, and jets in the order of the file: each of its pages once.
        """
        starts = self.offsets[name][jets]
        lengths = np.minimum(self.offsets[name][jets + 1] - starts, slots)
        offsets = np.zeros(len(jets) + 1, dtype=np.int64)
        np.cumsum(lengths, out=offsets[1:])
        rows = np.arange(offsets[-1]) + np.repeat(starts - offsets[:-1], lengths)
        stored = self.values[name].numpy()
        values = torch.empty(len(rows) + 1, stored.shape[1], pin_memory=self.device.type == "cuda")
        # Rows are in range; with any other mode numpy fills a copy first.
        np.take(stored, rows, axis=0, out=values[:-1].numpy(), mode="clip")
        values[-1] = self.values[name][-1]
        return values, offsets


@cache
def _copying(device: torch.device) -> torch.cuda.Stream:
    """The stream of all copies to a GPU: PyTorch keeps the memory that was used on a stream for that stream alone."""
    return torch.cuda.Stream(device)  # type: ignore[no-untyped-call]


class Place(StrEnum):
    """Place of the constituents."""

    DEVICE = "device"
    HOST = "host"
    DISK = "disk"


@dataclass(frozen=True)
class DataPlace:
    """Place of the constituents of a training.

    Attributes:
        place: on the device, or not.
        size: approximate size. [bytes]
        folder: folder on the file system for constituents on disk.
    """

    place: Place
    size: int
    folder: Path

    @property
    def fill_folder(self) -> Path | None:
        """Folder for files that are filled with them; None for memory."""
        return self.folder if self.place is Place.DISK else None

    @property
    def tensors(self) -> type[JetTensors]:
        """Tensors that make batches of them."""
        return JetTensors if self.place is Place.DEVICE else DistantJets

    def sentence(self) -> str | None:
        """Message if they are not on the device."""
        told = f"the constituents of the jets ({size_text(self.size)})"
        ahead = "each step's are fetched while the one before is computed"
        if self.place is Place.DEVICE:
            return None
        if self.place is Place.HOST:
            return f"{told} stay in the host's memory; {ahead}"
        return f"{told} lie on disk, in unnamed files in {self.folder}; {ahead}"

    def described(self) -> dict[str, Any]:
        """For run.json."""
        return {"data_place": self.place.value, "constituents_bytes": self.size}


def data_place(
    settings: TrainSettings, chosen: TrainingData, device: torch.device, *, step: int, gathered: int, processes: int = 1
) -> DataPlace:
    """Chooses the place of the constituents of the chosen jets.

    Args:
        settings: of the training.
        chosen: the jets.
        device: device of the network.
        step: memory of a step on the device beside the jets. [bytes]
        gathered: further memory of a step for gathered constituents, where these do not lie on the device. [bytes]
        processes: number of processes of the training on this machine; each holds all jets.

    Raises:
        NoRoomOnDisk: they are to lie on disk, and it has no room for them.
    """
    size, folder = _bytes_of(chosen), (settings.cache_path or default_cache_path()).expanduser()
    place = (
        Place(settings.data_place)
        if settings.data_place != "auto"
        else _first_with_room(device, size, step, gathered, processes)
    )
    if place is Place.HOST and device.type == "cpu":
        place = Place.DEVICE
    if place is Place.DISK:
        _refuse_full_disk(folder, processes * size)
    return DataPlace(place, size, folder)


def step_size(settings: TrainSettings, chosen: TrainingData) -> StepSize:
    """The jets of an epoch as one step."""
    main, control = (len(each.positions(Part.TRAIN)) for each in (chosen.main, chosen.control))
    if not settings.has_agreement:
        control = 0
    updates = domain_loss_named(settings.agreement).updates if settings.has_agreement else 0
    return StepSize(main, main if control else 0, control, chosen.mean_constituents, updates)


def _bytes_of(chosen: TrainingData) -> int:
    floats = 0.0
    for sample, source in zip((chosen.main, *chosen.regions), chosen.sources, strict=True):
        tested = len(sample.positions(Part.TEST))
        for kind in chosen.schema.constituents:
            columns = len(kind.inputs) * len(source.rows) + len(kind.features) * tested
            floats += (kind.limit if chosen.fill_slots else source.mean_constituents[kind.name]) * columns
    return int(_FLOAT * floats)


def _first_with_room(device: torch.device, size: int, step: int, gathered: int, processes: int) -> Place:
    host = free_bytes(torch.device("cpu"))
    host = host if host is None else host // processes
    free = host if device.type == "cpu" else free_bytes(device)
    room = None if free is None else USABLE * free
    # Moving the jets does not help a step that has no room even without them; the user has been told what does.
    if room is None or size + step <= room or step + gathered > room >= size:
        return Place.DEVICE
    # There they are gathered in memory that cannot be paged out, from which the GPU copies.
    if device.type != "cpu" and (host is None or size + gathered <= USABLE * host):
        return Place.HOST
    return Place.DISK


def _refuse_full_disk(folder: Path, size: int) -> None:
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    free = shutil.disk_usage(there).free
    if size > free:
        raise NoRoomOnDisk(
            f"{folder} has {size_text(free)} free, and the constituents of the jets take {size_text(size)}, which are "
            "to lie there (data_place disk); cache_path names another folder"
        )
