"""Classifier in plain numpy, slot by slot: an independent reference for other implementations."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from cal_ratio_trainer.network.shape import NetworkShape

Array = NDArray[np.float64]


def scores(
    shape: NetworkShape, weights: Mapping[str, np.ndarray], constituents: Sequence[np.ndarray], jets: np.ndarray
) -> Array:
    """Scores [jets, 3] in double precision.

    Args:
        shape: the classifier's shape.
        weights: every weight by name.
        constituents: for each branch [jets, slots, inputs + masses], empty slots included; for other encoders than the
            LSTM these are zeros.
        jets: [jets, 3 + masses].
    """
    ends = []
    for branch, padded in zip(shape.branches, constituents, strict=True):
        if shape.encoder != "lstm":
            of_branch = {name.removeprefix(f"{branch.name}."): values for name, values in weights.items()}
            filled = [jet[jet.any(axis=1)].astype(np.float64) for jet in padded]
            ends.append(np.stack([_ENCODERS[shape.encoder](of_branch, each, dict(branch.options)) for each in filled]))
            continue
        sequence = padded.astype(np.float64)
        for i in range(len(branch.dense)):
            sequence = np.maximum(_dense(weights, f"{branch.name}.dense.{i}", sequence), 0)
        for i in range(shape.lstm_layers):
            sequence = _lstm(weights, f"{branch.name}.lstm.{i}", sequence)
        ends.append(sequence[:, -1])
    rows = np.concatenate([*ends, jets.astype(np.float64)], axis=1)
    for i in range(len(shape.hidden)):
        rows = np.maximum(_dense(weights, f"hidden.{i}", rows), 0)
    logits = _dense(weights, "output", rows)
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    result: Array = powers / powers.sum(axis=1, keepdims=True)
    return result


def _dense(weights: Mapping[str, np.ndarray], name: str, rows: Array) -> Array:
    return rows @ weights[f"{name}.kernel"].astype(np.float64) + weights[f"{name}.bias"].astype(np.float64)


def _lstm(weights: Mapping[str, np.ndarray], name: str, sequence: Array) -> Array:
    """All outputs [jets, slots, units]; gates in the order input, forget, candidate, output."""
    recurrent = weights[f"{name}.recurrent_kernel"].astype(np.float64)
    units = len(recurrent)
    hidden = cell = np.zeros((len(sequence), units))
    from_inputs = _dense(weights, name, sequence)
    outputs = []
    for slot in range(sequence.shape[1]):
        gates = from_inputs[:, slot] + hidden @ recurrent
        enter, forget, candidate, leave = (gates[:, i * units : (i + 1) * units] for i in range(4))
        cell = _sigmoid(forget) * cell + _sigmoid(enter) * np.tanh(candidate)
        hidden = _sigmoid(leave) * np.tanh(cell)
        outputs.append(hidden)
    return np.stack(outputs, axis=1)


def _sigmoid(values: Array) -> Array:
    return 0.5 * (1 + np.tanh(values / 2))


def _deep_sets(weights: Mapping[str, np.ndarray], rows: Array, options: Mapping[str, int]) -> Array:
    """Sum and maximum over the constituents [n, inputs] of one jet."""
    for i in range(sum(name.startswith("dense.") and name.endswith(".kernel") for name in weights)):
        rows = np.maximum(_dense(weights, f"dense.{i}", rows), 0)
    return np.concatenate([rows.sum(axis=0), rows.max(axis=0, initial=0)])


def _transformer(weights: Mapping[str, np.ndarray], rows: Array, options: Mapping[str, int]) -> Array:
    """Attention pooling after blocks of attention among the constituents [n, inputs] of one jet, head by head."""
    layers, heads = options.get("layers", 2), options.get("heads", 4)
    rows = np.maximum(_dense(weights, "embedding", rows), 0)
    per_head = rows.shape[1] // heads
    for block in (f"blocks.{i}" for i in range(layers)):
        projected = _dense(weights, f"{block}.projection", _norm(weights, f"{block}.attention_norm", rows))
        query, key, value = np.split(projected, 3, axis=1)
        outputs = []
        for head in range(heads):
            own = slice(head * per_head, (head + 1) * per_head)
            outputs.append(_softmax(query[:, own] @ key[:, own].T / np.sqrt(per_head)) @ value[:, own])
        rows = rows + _dense(weights, f"{block}.joined", np.concatenate(outputs, axis=1))
        hidden = _dense(weights, f"{block}.expanded", _norm(weights, f"{block}.dense_norm", rows))
        rows = rows + _dense(weights, f"{block}.contracted", np.maximum(hidden, 0))
    rows = _norm(weights, "norm", rows)
    powers = np.exp(_dense(weights, "pooling", rows))
    result: Array = (powers * rows).sum(axis=0) / (1 + powers.sum())
    return result


def _norm(weights: Mapping[str, np.ndarray], name: str, rows: Array) -> Array:
    normed = (rows - rows.mean(axis=1, keepdims=True)) / np.sqrt(rows.var(axis=1, keepdims=True) + 1e-5)
    result: Array = normed * weights[f"{name}.scale"] + weights[f"{name}.bias"]
    return result


def _softmax(values: Array) -> Array:
    powers = np.exp(values)
    result: Array = powers / powers.sum(axis=1, keepdims=True)
    return result


_ENCODERS = {"deep_sets": _deep_sets, "transformer": _transformer}


def random_weights(shape: NetworkShape, seed: int) -> dict[str, NDArray[np.float32]]:
    """Random weights, large enough that every layer, gate and bias affects the scores."""
    generator = np.random.default_rng(seed)
    drawn = {}
    for name, dimensions in shape.weight_shapes().items():
        width = 0.3 if name.endswith("bias") else 1.5 / np.sqrt(dimensions[0])
        drawn[name] = generator.normal(0, width, dimensions).astype(np.float32)
    return drawn


def random_inputs(shape: NetworkShape, filled: Sequence[int], seed: int) -> tuple[list[np.ndarray], np.ndarray]:
    """Inputs for one jet per entry of `filled`, with that many slots filled in every branch (as many as there are).

    Returns:
        For each branch [jets, slots, inputs + masses] float32 with zeros in the empty slots; and [jets, 3 + masses].
    """
    generator = np.random.default_rng(seed)
    constituents = []
    for branch in shape.branches:
        values = generator.normal(0, 1, (len(filled), branch.slots, branch.inputs + shape.masses)).astype(np.float32)
        values[np.arange(branch.slots) >= np.asarray(filled)[:, None]] = 0
        constituents.append(values)
    return constituents, generator.normal(0, 1, (len(filled), shape.jet_inputs)).astype(np.float32)
