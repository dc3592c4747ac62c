"""What trains, made as the settings say: networks with their optimisers, and the sampler of the mini-batches."""

from collections.abc import Iterator

import torch

from cal_ratio_trainer.config.training import TrainSettings
from cal_ratio_trainer.datasets.data import TrainingData
from cal_ratio_trainer.datasets.placement import DataPlace, Place
from cal_ratio_trainer.datasets.splits import Part
from cal_ratio_trainer.errors import ConfigError
from cal_ratio_trainer.network.classifier import Classifier
from cal_ratio_trainer.network.device import chosen_device, unserved_card
from cal_ratio_trainer.network.domain.adversary import Adversary
from cal_ratio_trainer.network.engine import Engine, engine_for, fallback_notice, set_matmul_precision
from cal_ratio_trainer.network.shape import HIDDEN_WIDTHS, NetworkShape, branch_shape
from cal_ratio_trainer.training.cuda_graph import StaticStep
from cal_ratio_trainer.training.ranks import ALONE, Ranks
from cal_ratio_trainer.training.sampler import Sampler
from cal_ratio_trainer.training.step import AdversarialStep, LossSettings


def network_shape(settings: TrainSettings) -> NetworkShape:
    """The classifier that the settings describe."""
    branches = (
        ("clusters", settings.cluster_filters, settings.cluster_lstm_nodes),
        ("tracks", settings.track_filters, settings.track_lstm_nodes),
        ("muon_segments", settings.muon_segment_filters, settings.muon_segment_lstm_nodes),
    )
    return NetworkShape(
        branches=tuple(branch_shape(name, tuple(filters), nodes) for name, filters, nodes in branches),
        hidden=tuple(max(1, int(width * settings.hidden_layer_fraction)) for width in HIDDEN_WIDTHS),
        lstm_layers=settings.lstm_layers,
        masses=len(settings.parametrised_masses),
        dropout=settings.dropout,
        encoder=settings.encoder,
    )


def training_device(settings: TrainSettings) -> torch.device:
    """Where to train. Raises ConfigError where a GPU is asked for and there is none that can be used."""
    return chosen_device(settings.device)


def new_step(settings: TrainSettings, place: DataPlace, ranks: Ranks = ALONE) -> AdversarialStep:
    """Fresh networks and optimisers on the device of the training.

    Raises:
        ConfigError, EngineUnusable: the device or engine asked for cannot be used.
    """
    device = training_device(settings)
    # Said before anything is trained: an engine that does not work there.
    engine = engine_for(device, torch.float32, settings.engine)
    set_matmul_precision(device, settings.matmul_precision)
    classifier = Classifier(network_shape(settings), settings.seed, settings.engine).to(device)
    adversary = Adversary(settings.seed + 1).to(device)
    losses = LossSettings(settings.adversary_weight, settings.regularization, settings.dropout)
    # A recorded step reads its mini-batch at once, alone, and on the GPU.
    at_once = settings.accumulate == 1 and place.place is Place.DEVICE and ranks.place.processes == 1
    recorded = settings.cuda_graph and at_once and engine is Engine.TRITON and device.type == "cuda"
    kind = StaticStep if recorded else AdversarialStep
    return kind(classifier, adversary, settings.learning_rate, losses, settings.seed, settings.accumulate, ranks)


def new_sampler(settings: TrainSettings, data: TrainingData) -> Sampler:
    """What draws the mini-batches. Raises ConfigError where there are too few jets for so many."""
    main = data.main.positions(Part.TRAIN)
    control = data.control_positions(Part.TRAIN) if settings.adversary_weight else data.control_positions(Part.UNUSED)
    try:
        return Sampler(main, control, mini_batches(settings, len(main)), settings.seed, settings.reshuffle)
    except ConfigError as error:
        if settings.batch_size is None:
            raise
        raise ConfigError([f"batch_size {settings.batch_size} cuts an epoch into too many pieces: {error}"]) from error


def mini_batches(settings: TrainSettings, main_jets: int) -> int:
    """How many there are in an epoch of so many main jets."""
    return settings.num_splits or max(1, round(main_jets / (settings.batch_size or 1)))


def without_effect(settings: TrainSettings) -> Iterator[str]:
    """What was asked for and changes nothing where the network runs."""
    if training_device(settings).type == "cpu":
        if settings.matmul_precision != "ieee":
            yield f"matmul_precision {settings.matmul_precision} has no effect: it is for GPUs, and this runs on a CPU"
        if settings.data_place == "host":
            yield "data_place host has no effect: on a CPU the jets lie in the host's memory anyway"


def slowness_notice(settings: TrainSettings) -> str | None:
    """Why the training is slower than it could be on this machine, where that was not asked for; else None."""
    if settings.device == "auto" and (unserved := unserved_card()):
        return f"training runs on the CPU: {unserved}"
    return fallback_notice(training_device(settings)) if settings.engine == "auto" else None
