"""One training in memory: data, networks, optimisers and mini-batches, made as the settings say."""

import ctypes
import logging
import math
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from cal_ratio_trainer.config.learning import NetworkSettings
from cal_ratio_trainer.config.training import TrainSettings
from cal_ratio_trainer.datasets.data import choose_training_data, read_training_data, shared_jets
from cal_ratio_trainer.datasets.data_table import data_sentences
from cal_ratio_trainer.datasets.memory import gathered_bytes, step_bytes
from cal_ratio_trainer.datasets.placement import DataPlace, Place, data_place, step_size
from cal_ratio_trainer.datasets.sample import TrainingData
from cal_ratio_trainer.datasets.splits import Part
from cal_ratio_trainer.files.cache import DemoFiles
from cal_ratio_trainer.jets.schema import CALRATIO_2019, Schema
from cal_ratio_trainer.network.batch import JetTensors
from cal_ratio_trainer.network.classifier import Classifier
from cal_ratio_trainer.network.dense_chain import ChainPlan, dense_chain
from cal_ratio_trainer.network.domain.base import DomainSettings, domain_loss_named
from cal_ratio_trainer.network.dropout import DropoutSource
from cal_ratio_trainer.network.encoders.base import encoder_named
from cal_ratio_trainer.network.engine import (
    Engine,
    chosen_device,
    engine_for,
    fallback_notice,
    set_matmul_precision,
    unserved_card,
)
from cal_ratio_trainer.network.layers import Activation, Dense
from cal_ratio_trainer.network.shape import HIDDEN_WIDTHS, NetworkShape, branch_shape
from cal_ratio_trainer.runs.record import DataFile, no_demo, training_files
from cal_ratio_trainer.training.cuda_graph import StaticStep
from cal_ratio_trainer.training.memory_plan import MemoryPlan, OutOfMemory, lacks_memory, memory_plan
from cal_ratio_trainer.training.ranks import ALONE, Ranks
from cal_ratio_trainer.training.sampler import Sampler, mini_batches, new_sampler
from cal_ratio_trainer.training.signals import stopped_at_once
from cal_ratio_trainer.training.start import Start
from cal_ratio_trainer.training.step import TrainingStep
from cal_ratio_trainer.workers.child import ChildDied

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX = -1, -2, -4
_JETS = 64
_JETS_OF_SPREADS = 50_000
"""Maximum number of jets from which mean and spread of the inputs are computed."""
_NOTICE_AFTER_S = 1.0
_COMPILE_TIMEOUT_S = 60.0

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class LoadedData:
    """The training files in memory.

    Attributes:
        files: as `training_files` returns them.
        data: jets with parts and weights.
        tensors: the same on the device.
        place: place of the constituents.
        seconds: duration of reading. [s]
    """

    files: tuple[DataFile, ...]
    data: TrainingData
    tensors: JetTensors
    place: DataPlace
    seconds: float


LoadFiles = Callable[[TrainSettings, Ranks], LoadedData]
"""Reads the training files for a training, or takes those that an earlier training has read."""


@dataclass(frozen=True)
class Training:
    """All that one training works with, in each of the processes that share it; it has no run folder yet.

    Attributes:
        start: settings, and the run that it goes on with.
        loaded: the training files in memory.
        sampler: draws the mini-batches.
        step: networks and optimisers.
        ranks: the processes that share the training.
        compiling_s: duration of compiling. [s]
    """

    start: Start
    loaded: LoadedData
    sampler: Sampler
    step: TrainingStep
    ranks: Ranks
    compiling_s: float

    @property
    def settings(self) -> TrainSettings:
        """Settings of the run."""
        return self.start.settings

    @property
    def data(self) -> TrainingData:
        """Jets with parts and weights."""
        return self.loaded.data

    @property
    def tensors(self) -> JetTensors:
        """Jets on the device."""
        return self.loaded.tensors

    def computed_by(self) -> dict[str, str | int | bool]:
        """Device, engine and processes, for run.json."""
        device, settings = self.tensors.device, self.settings
        return {
            "device": device.type,
            "engine": engine_of(settings, device).value,
            "matmul_precision": settings.matmul_precision if device.type == "cuda" else "ieee",
            "cuda_graph": self.step.records_graphs,
            "processes": self.ranks.place.processes,
            "nodes": self.ranks.place.nodes,
        }

    def memory_plan(self) -> MemoryPlan:
        """Predicted memory; where it has no room for recorded steps, the steps are not recorded."""
        settings, step = self.settings, self.step
        plan = memory_plan(
            step.classifier.shape,
            engine_of(settings, self.tensors.device),
            self.tensors,
            self.sampler,
            settings.accumulate,
            self.ranks,
            updates=step.updates,
            recorded=step.records_graphs,
        )
        fitting = plan.as_it_fits()
        if plan.recorded and not fitting.recorded:
            _log.warning("%s", plan.unrecorded_notice())
            step.records_graphs = False
        return fitting


def set_up(start: Start, say: Callable[[str], None], ranks: Ranks = ALONE, load: LoadFiles | None = None) -> Training:
    """Reads the data and makes the networks; compiles what computes them.

    Args:
        start: settings, and the run to go on with, if any.
        say: receives what a user should read.
        ranks: the processes that share the training.
        load: reads the training files; None takes `load_data`, without the demo.

    Raises:
        TrainingStopped: SIGTERM.
        UserError: settings or files cannot be used.
    """
    settings = start.settings
    if settings.has_agreement:
        domain_loss_named(settings.agreement)
    encoder_named(settings.encoder).engine(settings.engine)
    encoder_named(settings.encoder).checked_options(settings.encoder_options)
    keep_freed_memory()
    torch.set_num_threads(start.threads or settings.threads or ranks.threads)
    with stopped_at_once():
        ranks.select_device(settings.device)
        loaded = (load or load_data)(settings, ranks)
        # An older run goes on with the files that it has.
        shared = shared_jets(loaded.data, settings) if start.run is None else []
        schema = loaded.tensors.schema
        initial = start.initial.read(network_shape(settings, schema)) if start.initial else None
        for sentence in (*data_sentences(loaded.data, settings), *shared, *notices(settings)):
            say(sentence)
        sampler = new_sampler(settings, loaded.data)
        step = new_step(settings, loaded, sampler, ranks, initial)
        ranks.connect(chosen_device(settings.device))
        if ranks.place.processes > 1:
            ranks.require_equal("training files", loaded.data.digest)
        compiling_s = compile_loops(step, loaded.tensors, say)
    return Training(start, loaded, sampler, step, ranks, compiling_s)


def load_data(
    settings: TrainSettings, ranks: Ranks = ALONE, make_demo: Callable[[Path | None], DemoFiles] = no_demo
) -> LoadedData:
    """Finds the training files and reads them to where the network reads them.

    Args:
        settings: of the training.
        ranks: the processes that share it.
        make_demo: see `training_files`.

    Raises:
        UserError: a file, or a setting with it, cannot be used.
    """
    begin = time.perf_counter()
    files = training_files(settings, make_demo)
    chosen = choose_training_data(settings, *(file.path for file in files))
    device, shape = chosen_device(settings.device), network_shape(settings, chosen.schema)
    epoch = step_size(settings, chosen)
    engine = engine_of(settings, device)
    splits, processes = mini_batches(settings, int(epoch.main)), ranks.place.processes
    step = step_bytes(shape, epoch.of(splits * processes), engine, settings.accumulate)
    gathered = gathered_bytes(shape, epoch, splits, processes)
    # All look for free memory, and divide it by their number, before any of them takes its part.
    ranks.barrier()
    place = data_place(settings, chosen, device, step=step, gathered=gathered, processes=ranks.place.local_processes)
    data, tensors = read_training_data(chosen, place.fill_folder, device, place.tensors)
    return LoadedData(files, data, tensors, place, time.perf_counter() - begin)


def engine_of(settings: TrainSettings, device: torch.device) -> Engine:
    """The engine of a training. Raises ConfigError, EngineUnusable where encoder or device lack the one asked for."""
    return engine_for(device, torch.float32, encoder_named(settings.encoder).engine(settings.engine))


def network_shape(settings: NetworkSettings, schema: Schema = CALRATIO_2019) -> NetworkShape:
    """The classifier that the settings describe, for jets of a schema."""
    branches = (
        ("clusters", settings.cluster_filters, settings.cluster_lstm_nodes),
        ("tracks", settings.track_filters, settings.track_lstm_nodes),
        ("muon_segments", settings.muon_segment_filters, settings.muon_segment_lstm_nodes),
    )
    options = encoder_named(settings.encoder).checked_options(settings.encoder_options)
    return NetworkShape(
        branches=tuple(branch_shape(name, tuple(filters), nodes, schema, options) for name, filters, nodes in branches),
        hidden=tuple(max(1, int(width * settings.hidden_layer_fraction)) for width in HIDDEN_WIDTHS),
        lstm_layers=settings.lstm_layers,
        masses=len(settings.parametrised_masses),
        dropout=settings.dropout,
        schema=schema,
        encoder=settings.encoder,
    )


def new_step(
    settings: TrainSettings,
    loaded: LoadedData,
    sampler: Sampler,
    ranks: Ranks = ALONE,
    initial: Mapping[str, NDArray[np.float32]] | None = None,
) -> TrainingStep:
    """Fresh networks and optimisers on the device of the training.

    Args:
        settings: of the training.
        loaded: its jets.
        sampler: draws the mini-batches.
        ranks: the processes that share it.
        initial: weights that the classifier starts from; None draws them.

    Raises:
        ConfigError, EngineUnusable: the device or engine asked for cannot be used.
        OutOfMemory: there is no room for the network.
    """
    device, schema = chosen_device(settings.device), loaded.tensors.schema
    engine = engine_of(settings, device)
    set_matmul_precision(device, settings.matmul_precision)
    classifier = _new_classifier(settings, loaded, device, initial)
    domain = None
    if settings.has_agreement:
        assert settings.agreement_strength is not None, "every method has a default strength"
        of_domain = DomainSettings(
            weight=settings.agreement_strength,
            seed=settings.network_seed + 1,
            pt_ranges=tuple(settings.pt_ranges) if schema.jet_inputs[:1] == ("jet_pt",) else (),
            control_jets=-(-len(sampler.main) // sampler.splits),
            steps=settings.epochs * sampler.splits,
            hidden_width=classifier.shape.hidden[-1],
            region_shares=settings.control_shares,
            adversary_momentum=settings.adversary_momentum,
            adversary_input=settings.adversary_input,
            distance_rise=settings.distance_rise,
        )
        domain = domain_loss_named(settings.agreement)(of_domain).to(device)
    # A recorded step reads its mini-batch at once, alone, and on the GPU.
    at_once = settings.accumulate == 1 and loaded.place.place is Place.DEVICE and ranks.place.processes == 1
    recorded = settings.cuda_graph and at_once and engine is Engine.TRITON and device.type == "cuda"
    return (StaticStep if recorded else TrainingStep)(classifier, domain, settings, ranks)


def _new_classifier(
    settings: TrainSettings, loaded: LoadedData, device: torch.device, initial: Mapping[str, NDArray[np.float32]] | None
) -> Classifier:
    """The network before its first step; arguments and errors as `new_step`."""
    shape = network_shape(settings, loaded.tensors.schema)
    try:
        classifier = Classifier(
            shape, settings.network_seed, settings.engine, auxiliary_heads=settings.auxiliary_weight > 0
        ).to(device)
    except (MemoryError, RuntimeError) as error:
        if not lacks_memory(error):
            raise
        weights = sum(map(math.prod, shape.weight_shapes().values()))
        raise OutOfMemory(
            f"there is no memory for a network of {weights:,} weights: make its layers smaller"
        ) from error
    if settings.standardize_inputs:
        trained = loaded.data.main.positions(Part.TRAIN)
        # Evenly spaced ones, since the jets of a file may be sorted.
        classifier.standardise(loaded.tensors, trained[:: -(-len(trained) // _JETS_OF_SPREADS) or 1])
    if initial is not None:
        classifier.set_weights(initial)
    return classifier


def notices(settings: TrainSettings) -> Iterator[str]:
    """Sentences on what makes the training slower than it could be here, and on settings without effect here."""
    device = chosen_device(settings.device)
    if settings.device == "auto" and (unserved := unserved_card()):
        yield f"training runs on the CPU: {unserved}"
    elif encoder_named(settings.encoder).pytorch_only:
        if device.type == "cuda" and settings.cuda_graph:
            yield f"encoder {settings.encoder} runs on PyTorch's operations: steps are not recorded as CUDA graphs"
    elif settings.engine == "auto" and (slower := fallback_notice(device)):
        yield slower
    if settings.optimizer == "nadam" and settings.weight_decay != TrainSettings.defaults()["weight_decay"]:
        yield "weight_decay has no effect: it is for the optimizer adamw, and this training has nadam"
    if device.type == "cpu":
        if settings.matmul_precision != "ieee":
            yield f"matmul_precision {settings.matmul_precision} has no effect: it is for GPUs, and this runs on a CPU"
        if settings.data_place == "host":
            yield "data_place host has no effect: on a CPU the jets lie in the host's memory anyway"


@contextmanager
def restored_threads() -> Iterator[None]:
    """Restores PyTorch's number of CPU threads after the block: it is a setting of the process, not of one training."""
    before = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(before)


def keep_freed_memory() -> bool:
    """Keeps freed memory in the process instead of giving it back to the system after every tensor.

    A step allocates and frees the same hundreds of megabytes again and again; with glibc's defaults each time in fresh
    pages, which the kernel must clear first: twice the time of a step. Only glibc has this setting (`mallopt(3)`).

    Returns:
        True where it was set.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    # Large tensors must not have mappings of their own: these are given back whatever the other settings say.
    settings = ((_TRIM_THRESHOLD, 2**31 - 1), (_MMAP_MAX, 0), (_TOP_PAD, 64 * 1024 * 1024))
    done = all(mallopt(name, value) == 1 for name, value in settings)
    _log.debug("freed memory is kept: %s", done)
    return done


def compile_loops(step: TrainingStep, data: JetTensors, say: Callable[[str], None]) -> float:
    """Compiles the engine's loops with passes of a few jets, so that no measured step includes compiling.

    No weight changes.

    Args:
        step: holds the network.
        data: all jets.
        say: receives a notice where compiling takes longer than a second.

    Returns:
        Duration. [s]
    """
    begin = time.perf_counter()
    notice = "compiling what computes the network, once on a machine: some ten seconds"
    timer = threading.Timer(_NOTICE_AFTER_S, say, [notice])
    timer.start()
    try:
        if engine_for(data.device, torch.float32, step.classifier.engine) is Engine.NUMBA:
            _compile_in_two_processes()
        batch = data.batch(np.arange(min(_JETS, len(data.target))))
        masks = DropoutSource(step.dropout, (step.seed,), data.device)
        with torch.no_grad():
            step.classifier(batch)
            step.classifier(batch, masks)
        step.classifier(batch, masks).sum().backward()
        step.classifier_optimizer.zero_grad()
        if data.device.type == "cuda":
            torch.cuda.synchronize()
    finally:
        timer.cancel()
    return time.perf_counter() - begin


def _compile_in_two_processes() -> None:
    """Compiles the loops of dense layers here and those of the recurrence in a child, unless they are cached."""
    from cal_ratio_trainer.network.kernels.cpu.recurrence import compiling_beside

    with compiling_beside() as child:
        if child is None:
            return
        layers = [Dense(1, 1, torch.Generator()) for _ in range(2)]
        plan = ChainPlan((Activation(0.0, None, True, Engine.NUMBA, None),), transposed=True)
        dense_chain(torch.zeros(1, 1), layers, plan).sum().backward()  # type: ignore[no-untyped-call]
        with suppress(ChildDied):
            child.receive(_COMPILE_TIMEOUT_S)
