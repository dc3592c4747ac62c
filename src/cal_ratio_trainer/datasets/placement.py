"""Place of the jets' constituents during a training: on the device, in the host's memory, or on disk."""

import shutil
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import torch

from cal_ratio_trainer.config.training import TrainSettings
from cal_ratio_trainer.datasets.data import ChosenData
from cal_ratio_trainer.datasets.memory import USABLE, StepSize, free_bytes, size_text
from cal_ratio_trainer.datasets.splits import Part
from cal_ratio_trainer.files.cache import default_cache_path
from cal_ratio_trainer.jets.filling import Disk, Memory, NoRoomOnDisk, Storage
from cal_ratio_trainer.network.batch import JetTensors
from cal_ratio_trainer.network.distant_jets import DistantJets
from cal_ratio_trainer.network.domain.base import domain_loss_named

_FLOAT = 4


class Place(StrEnum):
    """Place of the constituents."""

    DEVICE = "device"
    HOST = "host"
    DISK = "disk"


@dataclass(frozen=True)
class StepNeeds:
    """Memory of a step on the device.

    Attributes:
        step: beside the jets. [bytes]
        gathered: further for constituents, where they do not lie there. [bytes]
    """

    step: int
    gathered: int


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
    def storage(self) -> Storage:
        """Storage in which they are filled."""
        return Disk(self.folder) if self.place is Place.DISK else Memory()

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
    settings: TrainSettings, chosen: ChosenData, device: torch.device, needs: StepNeeds, processes: int = 1
) -> DataPlace:
    """Chooses the place of the constituents of the chosen jets.

    Args:
        settings: of the training.
        chosen: the jets.
        device: device of the network.
        needs: memory of a step there.
        processes: number of processes of the training on this machine; each holds all jets.

    Raises:
        NoRoomOnDisk: they are to lie on disk, and it has no room for them.
    """
    size, folder = _bytes_of(chosen), (settings.cache_path or default_cache_path()).expanduser()
    place = (
        Place(settings.data_place)
        if settings.data_place != "auto"
        else _first_with_room(device, size, needs, processes)
    )
    if place is Place.HOST and device.type == "cpu":
        place = Place.DEVICE
    if place is Place.DISK:
        _refuse_full_disk(folder, processes * size)
    return DataPlace(place, size, folder)


def step_size(settings: TrainSettings, chosen: ChosenData) -> StepSize:
    """The jets of an epoch as one step."""
    main, *regions = (int((each.sample.part == Part.TRAIN).sum()) for each in (chosen.main, *chosen.regions.values()))
    control = sum(regions)
    if not settings.has_agreement:
        control = 0
    updates = domain_loss_named(settings.agreement).updates if settings.has_agreement else 0
    return StepSize(main, main if control else 0, control, chosen.mean_constituents, updates)


def _bytes_of(chosen: ChosenData) -> int:
    floats = 0.0
    for part in chosen.files:
        tested = int((part.sample.part == Part.TEST).sum())
        for kind in chosen.schema.constituents:
            columns = len(kind.inputs) * len(part.rows) + len(kind.features) * tested
            floats += (kind.limit if chosen.fill_slots else part.mean_constituents[kind.name]) * columns
    return int(_FLOAT * floats)


def _first_with_room(device: torch.device, size: int, needs: StepNeeds, processes: int) -> Place:
    host = free_bytes(torch.device("cpu"))
    host = host if host is None else host // processes
    free = host if device.type == "cpu" else free_bytes(device)
    room = None if free is None else USABLE * free
    # A step that has no room even without the jets gets none by moving them; what helps there is said before it.
    if room is None or size + needs.step <= room or needs.step + needs.gathered > room >= size:
        return Place.DEVICE
    # There they are gathered in memory that cannot be paged out, from which the GPU copies.
    if device.type != "cpu" and (host is None or size + needs.gathered <= USABLE * host):
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
