"""Recognition of a CalRatio network from weights without an architecture, by their order and shapes."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import zip_longest

from cal_ratio_trainer.formats.hdf5_reader import StoredLayer
from cal_ratio_trainer.formats.layers import WEIGHT_NAMES, Layer, classifier_layers
from cal_ratio_trainer.formats.stored_network import (
    BadWeightsFile,
    Weights,
    check_number_of_weights,
    weights_of_layer,
)
from cal_ratio_trainer.jets.schema import CONSTITUENTS, JET_INPUTS, MASS_INPUTS
from cal_ratio_trainer.network.shape import DEFAULT_SHAPE, NetworkShape, branch_shape

_MAX_LAYERS_PER_CLASS = 40
_NUMBERED = re.compile(r"(conv1d|lstm|dense|dropout|concatenate)(?:_(\d{1,6}))?")


def network_from_weights(stored: Sequence[StoredLayer], by_class: bool = False) -> tuple[NetworkShape, Weights]:
    """The network of weights in the order of Keras' layers.

    All depths that the branches can have are tried; the order of the layers follows from them, the widths from the
    weights. If several depths fit, the depths of the 2019 network are taken.

    Args:
        stored: all layers of a file; within each class in Keras' order.
        by_class: the layers of one class come after another, classes in alphabetical order, as the newer form has them;
            else they come in the network's order.

    Returns:
        The shape, with the default dropout, and the weights by name.

    Raises:
        BadWeightsFile: no network fits, or several do; names the layer that does not fit the 2019 network.
    """
    fitting: list[tuple[NetworkShape, Weights]] = []
    refusal = ""
    for skeleton in _skeletons(stored):
        try:
            fitting.append(_filled(skeleton, stored, by_class))
        except BadWeightsFile as error:
            refusal = str(error) if not refusal or _has_known_depths(skeleton) else refusal
    known = [found for found in fitting if _has_known_depths(found[0])]
    chosen = known or fitting
    if len(chosen) != 1:
        depths = "; ".join(str([len(branch.dense) for branch in shape.branches]) for shape, _ in chosen)
        raise BadWeightsFile(f"several networks fit, with {depths} layers in the branches" if chosen else refusal)
    return chosen[0]


def _skeletons(stored: Sequence[StoredLayer]) -> Iterator[NetworkShape]:
    """A network of width 1 for every way in which the convolutions can be shared out among the branches."""
    kinds = [layer.kind for layer in stored]
    convolutions, lstms, dense = (kinds.count(kind) for kind in ("Conv1D", "LSTM", "Dense"))
    branches = len(CONSTITUENTS)
    if lstms < branches or lstms % branches or convolutions < branches or not dense:
        raise BadWeightsFile(
            f"holds weights of {convolutions} Conv1D, {lstms} LSTM and {dense} Dense layers, which make no network of "
            f"{branches} branches"
        )
    if max(convolutions, lstms, dense) > _MAX_LAYERS_PER_CLASS:
        raise BadWeightsFile(f"holds weights of {len(stored)} layers; the networks read here have fewer")
    for first in range(1, convolutions - branches + 2):
        for second in range(1, convolutions - first - branches + 3):
            depths = (first, second, convolutions - first - second)
            yield NetworkShape(
                branches=tuple(
                    branch_shape(kind.name, (1,) * depth, 1) for kind, depth in zip(CONSTITUENTS, depths, strict=True)
                ),
                hidden=(1,) * (dense - 1),
                lstm_layers=lstms // branches,
                dropout=DEFAULT_SHAPE.dropout,
            )


def _has_known_depths(shape: NetworkShape) -> bool:
    return [len(branch.dense) for branch in shape.branches] == [len(branch.dense) for branch in DEFAULT_SHAPE.branches]


def _filled(skeleton: NetworkShape, stored: Sequence[StoredLayer], by_class: bool) -> tuple[NetworkShape, Weights]:
    """A skeleton with the widths that the weights have, and the weights, if they fit."""
    layers = [layer for layer in classifier_layers(skeleton) if layer.weights]
    queues = {kind: iter([each for each in stored if each.kind == kind]) for kind in ("Conv1D", "LSTM", "Dense")}
    pairs = [(layer, next(queues[layer.kind])) for layer in layers]
    all_layers = classifier_layers(skeleton)
    _check_layers(sorted(all_layers, key=lambda layer: layer.kind.lower()) if by_class else all_layers, stored)
    for layer, each in pairs:
        check_number_of_weights(layer, each)
    # The bias of a dense layer has its width, the bias of an LSTM four times its units.
    widths = {layer.weights[0]: each.arrays[-1].size // (4 if layer.kind == "LSTM" else 1) for layer, each in pairs}
    top = skeleton.lstm_layers - 1
    branches = tuple(
        branch_shape(
            branch.name,
            tuple(widths[f"{branch.name}.dense.{i}.kernel"] for i in range(len(branch.dense))),
            widths[f"{branch.name}.lstm.{top}.kernel"],
        )
        for branch in skeleton.branches
    )
    hidden = tuple(widths[f"hidden.{i}.kernel"] for i in range(len(skeleton.hidden)))
    shape = replace(skeleton, branches=branches, hidden=hidden)
    shape = replace(shape, masses=_masses(shape, pairs))
    shapes = shape.weight_shapes()
    weights: Weights = {}
    for layer, each in pairs:
        weights |= weights_of_layer(layer, each, shapes)
    return shape, weights


def _masses(shape: NetworkShape, pairs: Sequence[tuple[Layer, StoredLayer]]) -> int:
    """Number of masses in the jet's inputs, from the first layer after the branches."""
    layer, first = next((layer, each) for layer, each in pairs if layer.kind == "Dense")
    inputs = int(first.arrays[0].shape[0]) if first.arrays[0].ndim else 0
    masses = inputs - sum(branch.lstm_units for branch in shape.branches) - len(JET_INPUTS)
    if not 0 <= masses <= len(MASS_INPUTS):
        raise BadWeightsFile(
            f"layer {first.name or layer.name!r} ({first.place}): kernel has shape {first.arrays[0].shape}; with these "
            f"LSTM layers that is {masses} masses, expected 0 to {len(MASS_INPUTS)}"
        )
    return masses


def _check_layers(layers: Sequence[Layer], stored: Sequence[StoredLayer]) -> None:
    """Refuses layers that are not the layers of the network, if the file names them or gives their class."""
    if all(each.name for each in stored):
        ours = _without_start([layer.name for layer in layers])
        theirs = _without_start([each.name or "" for each in stored])
        for position, (our_name, their_name) in enumerate(zip_longest(ours, theirs)):
            if our_name != their_name:
                wanted = layers[position].name if position < len(layers) else None
                found = stored[position].name if position < len(stored) else None
                raise BadWeightsFile(f"layer {found!r} stands where {wanted!r} was expected")
    for kind in {layer.kind for layer in layers} | {each.kind for each in stored if each.kind}:
        wanted_count = sum(layer.kind == kind for layer in layers)
        found_count = sum(each.kind == kind for each in stored)
        is_known = kind in WEIGHT_NAMES or not any(each.name for each in stored)
        if wanted_count != found_count and is_known:
            raise BadWeightsFile(f"holds {found_count} layers of class {kind}, expected {wanted_count}")


def _without_start(names: Sequence[str]) -> list[tuple[str, int]]:
    """Names with the numbers that Keras gives replaced by their rank among the names of the same stem.

    The first number depends on what else a program had built.
    """
    parsed = [_NUMBERED.fullmatch(name) for name in names]
    numbers: dict[str, list[int]] = {}
    for match in parsed:
        if match:
            numbers.setdefault(match[1], []).append(int(match[2] or 0))
    return [
        (match[1], sorted(numbers[match[1]]).index(int(match[2] or 0))) if match else (name, -1)
        for match, name in zip(parsed, names, strict=True)
    ]
