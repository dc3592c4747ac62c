"""Errors of a frugally-deep file, as changes of its JSON."""

import copy
import itertools
from collections.abc import Callable, Iterator
from typing import Any

from cal_ratio_trainer.formats.fdeep_file import decoded_floats, encoded_floats

Content = dict[str, Any]


def entry(content: Content, layer: str) -> Content:
    """The description of a layer."""
    found: Content = next(each for each in content["architecture"]["config"]["layers"] if each["name"] == layer)
    return found


def with_swapped_gates(content: Content, layer: str, first: int, second: int) -> Content:
    """Two gates of an LSTM exchanged in all of its weights."""
    changed = copy.deepcopy(content)
    parameters, units = changed["trainable_params"][layer], entry(changed, layer)["config"]["units"]
    for name, strings in parameters.items():
        gates = decoded_floats(strings).reshape(-1, 4, units).copy()
        gates[:, [first, second]] = gates[:, [second, first]]
        parameters[name] = encoded_floats(gates)
    return changed


def with_kernel_as_keras_has_it(content: Content, layer: str) -> Content:
    """Kernel of a convolution [in, out], whereas the library reads it output by output."""
    changed = copy.deepcopy(content)
    parameters, filters = changed["trainable_params"][layer], entry(changed, layer)["config"]["filters"]
    parameters["weights"] = encoded_floats(decoded_floats(parameters["weights"]).reshape(filters, -1).T)
    return changed


def with_hard_sigmoid(content: Content, layer: str) -> Content:
    """LSTM with the activation that frugally-deep 0.15 takes if the file gives none."""
    changed = copy.deepcopy(content)
    entry(changed, layer)["config"]["recurrent_activation"] = "hard_sigmoid"
    return changed


def with_other_activation(content: Content, layer: str) -> Content:
    """Layer without ReLU."""
    changed = copy.deepcopy(content)
    entry(changed, layer)["config"]["activation"] = "tanh"
    return changed


def all_damages(content: Content) -> Iterator[tuple[str, Callable[[Content], Content]]]:
    """All these changes for every layer to which they apply, with a name."""
    for layer in content["architecture"]["config"]["layers"]:
        name, kind = layer["name"], layer["class_name"]
        if kind == "LSTM":
            for first, second in itertools.combinations(range(4), 2):
                yield (
                    f"{name}: gates {first} and {second}",
                    lambda said, n=name, a=first, b=second: with_swapped_gates(said, n, a, b),  # type: ignore[misc]
                )
            yield f"{name}: recurrent_activation", lambda said, n=name: with_hard_sigmoid(said, n)  # type: ignore[misc]
        if kind == "Conv1D":
            yield f"{name}: kernel", lambda said, n=name: with_kernel_as_keras_has_it(said, n)  # type: ignore[misc]
            yield f"{name}: activation", lambda said, n=name: with_other_activation(said, n)  # type: ignore[misc]
