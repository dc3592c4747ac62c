"""What is made for a training in every process that shares it, before and without a run folder."""

import logging
from collections.abc import Callable
from dataclasses import dataclass

import torch

from cal_ratio_trainer.config.training import TrainSettings
from cal_ratio_trainer.datasets.data import TrainingData
from cal_ratio_trainer.datasets.data_table import data_sentences
from cal_ratio_trainer.evaluation.summary import TestFigures
from cal_ratio_trainer.network.engine import engine_for
from cal_ratio_trainer.runs.directory import RunDirectory
from cal_ratio_trainer.training.allocator import keep_freed_memory
from cal_ratio_trainer.training.assembly import (
    network_shape,
    new_sampler,
    new_step,
    slowness_notice,
    training_device,
    without_effect,
)
from cal_ratio_trainer.training.compiling import compile_loops
from cal_ratio_trainer.training.continuation import Start
from cal_ratio_trainer.training.loop import Training
from cal_ratio_trainer.training.memory_plan import MemoryPlan, memory_plan
from cal_ratio_trainer.training.preparation import Prepared, prepare
from cal_ratio_trainer.training.ranks import Ranks
from cal_ratio_trainer.training.sampler import Sampler
from cal_ratio_trainer.training.signals import stopped_at_once
from cal_ratio_trainer.training.step import AdversarialStep

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Work:
    """All that a training needs before it has a folder.

    Attributes:
        start: settings, and where it starts from.
        prepared: the jets.
        sampler: draws the mini-batches.
        step: networks and optimisers.
        say: told what a user should read.
        details: figures of merit as text.
        ranks: the processes that share it.
        compiling: how long compiling took. [s]
    """

    start: Start
    prepared: Prepared
    sampler: Sampler
    step: AdversarialStep
    say: Callable[[str], None]
    details: Callable[[TestFigures], str]
    ranks: Ranks
    compiling: float

    @property
    def settings(self) -> TrainSettings:
        """Of the run."""
        return self.start.settings


def prepared_work(
    start: Start, say: Callable[[str], None], details: Callable[[TestFigures], str], ranks: Ranks
) -> Work:
    """Read the data and make what trains on them; arguments and errors as `train`."""
    settings = start.settings
    keep_freed_memory()
    torch.set_num_threads(start.threads or settings.threads or ranks.threads)
    with stopped_at_once():
        ranks.take_device(settings.device)
        initial = start.initial.read(network_shape(settings)) if start.initial else None
        prepared = prepare(settings, ranks)
        _say_what_the_data_are(prepared.data, settings, say)
        for notice in filter(None, (slowness_notice(settings), *without_effect(settings))):
            say(notice)
        sampler = new_sampler(settings, prepared.data)
        step = new_step(settings, prepared.place, ranks)
        if initial is not None:
            step.classifier.set_weights(initial)
        ranks.connect(training_device(settings))
        if ranks.place.processes > 1:
            ranks.refuse_difference("training files", prepared.data.digest)
        compiling = compile_loops(step, prepared.tensors, say)
    return Work(start, prepared, sampler, step, say, details, ranks, compiling)


def new_training(run: RunDirectory, work: Work, run_id: str | None = None) -> Training:
    """The training, without `record_epoch`; `run_id` is for the process that writes files."""
    return Training(
        settings=work.settings,
        run=run,
        run_id=run_id,
        data=work.prepared.data,
        tensors=work.prepared.tensors,
        step=work.step,
        sampler=work.sampler,
        record_epoch=lambda progress, result: None,
    )


def plan_of(training: Training) -> MemoryPlan:
    """What a training takes of memory; where there is no room to record its steps, they are not recorded."""
    step, settings = training.step, training.settings
    engine = engine_for(training.tensors.jets.device, torch.float32, settings.engine)
    plan = memory_plan(
        *(step.classifier.shape, engine, training.tensors, training.sampler, settings.accumulate, step.ranks),
        recorded=step.records_graphs,
    )
    fitting = plan.as_it_fits()
    if plan.recorded and not fitting.recorded:
        _log.warning("%s", plan.unrecorded_notice())
        step.records_graphs = False
    return fitting


def _say_what_the_data_are(data: TrainingData, settings: TrainSettings, say: Callable[[str], None]) -> None:
    for sentence in data_sentences(data, settings):
        say(sentence)
