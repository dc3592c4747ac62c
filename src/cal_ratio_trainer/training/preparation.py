"""The training files as a training reads them: found, copied or made, and read once."""

import time
from dataclasses import dataclass
from pathlib import Path

import torch

from cal_ratio_trainer.config.training import DEMO, TrainSettings, demo_beside_file
from cal_ratio_trainer.datasets.data import ChosenData, TrainingData, choose_training_data, read_training_data
from cal_ratio_trainer.datasets.memory import gathered_bytes, step_bytes
from cal_ratio_trainer.datasets.placement import DataPlace, StepNeeds, data_place, step_size
from cal_ratio_trainer.datasets.sample import TrainingTensors
from cal_ratio_trainer.errors import ConfigError
from cal_ratio_trainer.files.cache import local_copy
from cal_ratio_trainer.network.engine import engine_for
from cal_ratio_trainer.runs.record import DataFile
from cal_ratio_trainer.training.assembly import mini_batches, network_shape, training_device
from cal_ratio_trainer.training.ranks import ALONE, Ranks


@dataclass(frozen=True)
class Prepared:
    """Data in memory, before a run has a folder; `files` are those of `training_files`."""

    data: TrainingData
    tensors: TrainingTensors
    place: DataPlace
    files: tuple[DataFile, ...]
    seconds: float


def prepare(settings: TrainSettings, ranks: Ranks = ALONE) -> Prepared:
    """Find the training files and read them to where the network reads them.

    Args:
        settings: of the training.
        ranks: the processes that share it.

    Raises:
        UserError: a file, or a setting with it, cannot be used.
    """
    begin = time.perf_counter()
    files = training_files(settings)
    chosen = choose_training_data(settings, *(file.path for file in files))
    place = _data_place(settings, chosen, ranks)
    data, inputs = read_training_data(chosen, place.storage)
    tensors = data.tensors(inputs, training_device(settings), place.tensors)
    return Prepared(data, tensors, place, files, time.perf_counter() - begin)


def _data_place(settings: TrainSettings, chosen: ChosenData, ranks: Ranks) -> DataPlace:
    device, epoch = training_device(settings), step_size(settings, chosen)
    engine, shape = engine_for(device, torch.float32, settings.engine), network_shape(settings)
    splits, processes = mini_batches(settings, int(epoch.main)), ranks.place.processes
    step = step_bytes(shape, epoch.of(splits * processes), engine, settings.accumulate)
    needs = StepNeeds(step, gathered_bytes(shape, epoch, splits, processes))
    # Each is to find what is free before another takes its part of it: free memory is shared out by their number.
    ranks.meet()
    return data_place(settings, chosen, device, needs, ranks.place.local_processes)


def training_files(settings: TrainSettings) -> tuple[DataFile, ...]:
    """Main file and, if any, control-region file on this machine: remote files are copied, those of the demo made.

    Raises:
        ConfigError: only one of them is the demo.
    """
    main, control = settings.main_training_file, settings.cr_training_file
    if control is not None and (mixture := demo_beside_file(main, control)):
        raise ConfigError([mixture])
    names = (main,) if control is None else (main, control)
    if main == DEMO:
        paths = _demo_files(settings)[: len(names)]
    else:
        paths = tuple(local_copy(name, settings.cache_path) for name in names)
    return tuple(DataFile(name, path) for name, path in zip(names, paths, strict=True))


def _demo_files(settings: TrainSettings) -> tuple[Path, ...]:
    # Simulation and conversion bring uproot and awkward along, which a training on files does not need.
    from cal_ratio_trainer.simulation.demo_data import demo_training_files

    files = demo_training_files(settings.cache_path)
    return files.main, files.control
