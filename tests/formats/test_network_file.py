"""Network files of every kind give their original shape and weights, or are refused by layer."""

import copy
import io
import json
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from cal_ratio_trainer.errors import InputFileError
from cal_ratio_trainer.formats.architecture import architecture_of
from cal_ratio_trainer.formats.fdeep_file import Flavour
from cal_ratio_trainer.formats.keras_file import keras_model_bytes
from cal_ratio_trainer.formats.registry import read_network
from cal_ratio_trainer.network.shape import DEFAULT_SHAPE, NetworkShape, branch_shape
from tests.formats.earlier_files import (
    Config,
    Weights,
    fdeep_file,
    keras_2_config,
    keras_2_zip,
    layers_of,
    legacy_hdf5,
    numbered_hdf5,
    with_hdf5_changed,
    written,
    zipped,
)
from tests.formats.numpy_network import random_weights
from tests.formats.shapes import SHAPES

EQUAL_WIDTHS = NetworkShape(
    branches=(
        branch_shape("clusters", (8, 8, 8, 8), 4),
        branch_shape("tracks", (8, 8, 8, 8), 4),
        branch_shape("muon_segments", (8, 8, 8), 4),
    ),
    hidden=(16, 16),
)
"""Network whose layers have nearly all the same shape: only order and names distinguish them."""


def part(content: bytes, name: str) -> bytes:
    """One part of a zip file."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return archive.read(name)


THREE_BRANCHES = {name: shape for name, shape in SHAPES.items() if len(shape.branches) == 3} | {"equal": EQUAL_WIDTHS}

KINDS: dict[str, Callable[[NetworkShape, Weights], bytes]] = {
    "HDF5 with architecture": lambda shape, weights: legacy_hdf5(shape, weights, keras_2_config(shape)),
    "HDF5 weights": legacy_hdf5,
    "numbered weights": numbered_hdf5,
    "numbered and named weights": lambda shape, weights: part(keras_model_bytes(shape, weights), "model.weights.h5"),
    "zip of Keras 2": keras_2_zip,
    "zip of Keras 3": keras_model_bytes,
    "fdeep 0.15": lambda shape, weights: fdeep_file(shape, weights, Flavour.KERAS_2),
    "fdeep 0.20": lambda shape, weights: fdeep_file(shape, weights, Flavour.KERAS_3),
}


@pytest.fixture(scope="module")
def weights() -> dict[str, np.ndarray]:
    """Weights of the 2019 network, all different."""
    return random_weights(DEFAULT_SHAPE, seed=1)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", THREE_BRANCHES)
def test_a_file_of_any_kind_gives_back_shape_and_weights(name: str, kind: str, tmp_path: Path) -> None:
    shape = THREE_BRANCHES[name]
    expected = random_weights(shape, seed=1)
    found = read_network(written(tmp_path, KINDS[kind](shape, expected), "network.txt"))
    wanted = shape if found.dropout_is_said else replace(shape, dropout=DEFAULT_SHAPE.dropout)
    assert found.shape == wanted
    assert found.dropout_is_said == ("weights" not in kind)
    assert any("weights alone" in note for note in found.notes) == ("weights" in kind)
    assert found.weights.keys() == expected.keys()
    for weight, values in expected.items():
        np.testing.assert_array_equal(found.weights[weight], values)


def test_layers_are_known_by_what_they_read_whatever_they_are_called(
    weights: dict[str, np.ndarray], tmp_path: Path
) -> None:
    config = keras_2_config(DEFAULT_SHAPE)
    text = json.dumps(config)
    for name in reversed(layers_of(config)):
        text = text.replace(f'"{name}"', f'"other_{name}"')
    found = read_network(written(tmp_path, keras_2_zip(DEFAULT_SHAPE, weights, json.loads(text))))
    assert found.shape == DEFAULT_SHAPE
    assert found.layer_names[2] == "other_conv1d"
    for weight, values in weights.items():
        np.testing.assert_array_equal(found.weights[weight], values)


def test_weights_alone_take_the_architecture_of_another_file(weights: dict[str, np.ndarray], tmp_path: Path) -> None:
    other_dropout = architecture_of(keras_2_config(replace(DEFAULT_SHAPE, dropout=0.35)))
    found = read_network(written(tmp_path, legacy_hdf5(DEFAULT_SHAPE, weights)), other_dropout)
    assert (found.shape.dropout, found.dropout_is_said) == (0.35, True)
    other_widths = architecture_of(keras_2_config(THREE_BRANCHES["two_lstm_layers"]))
    with pytest.raises(InputFileError, match=r"the weights of layer 'lstm_\d' are missing|has shape"):
        read_network(written(tmp_path, legacy_hdf5(DEFAULT_SHAPE, weights)), other_widths)


CHANGES: dict[str, tuple[Callable[[dict[str, Config]], Any], str]] = {
    "hard sigmoid": (
        lambda c: c["lstm_1"]["config"].update(recurrent_activation="hard_sigmoid"),
        "layer 'lstm_1': recurrent_activation is 'hard_sigmoid', expected 'sigmoid'",
    ),
    "no recurrent activation": (
        lambda c: c["lstm"]["config"].pop("recurrent_activation"),
        "layer 'lstm': recurrent_activation is None, expected 'sigmoid'",
    ),
    "activations swapped": (
        lambda c: c["lstm_2"]["config"].update(activation="sigmoid", recurrent_activation="tanh"),
        "layer 'lstm_2': activation is 'sigmoid', expected 'tanh'",
    ),
    "relu missing": (lambda c: c["conv1d_4"]["config"].pop("activation"), "layer 'conv1d_4': activation is None"),
    "softmax missing": (
        lambda c: c["main_output"]["config"].update(activation="sigmoid"),
        "layer 'main_output': activation is 'sigmoid', expected 'softmax'",
    ),
    "backwards": (lambda c: c["lstm"]["config"].update(go_backwards=True), "layer 'lstm': go_backwards is True"),
    "no bias": (lambda c: c["dense_2"]["config"].update(use_bias=False), "layer 'dense_2': use_bias is False"),
    "a wider kernel": (lambda c: c["conv1d"]["config"].update(kernel_size=[3]), r"'conv1d': kernel_size is \[3\]"),
    "a stride": (lambda c: c["conv1d"]["config"].update(strides=[2]), r"layer 'conv1d': strides is \[2\]"),
    "time major": (lambda c: c["lstm"]["config"].update(time_major=True), "'lstm': time_major is True, which is not"),
    "half precision": (lambda c: c["dense_1"]["config"].update(dtype="float16"), "'dense_1' computes in 'float16'"),
    "another policy": (
        lambda c: c["dense_1"]["config"].update(
            dtype={"class_name": "DTypePolicy", "config": {"name": "mixed_float16"}}
        ),
        "'dense_1' computes in 'mixed_float16'",
    ),
    "a custom function": (
        lambda c: c["dense_1"]["config"].update(
            activation={"module": "mine", "class_name": "Strange", "config": "relu"}
        ),
        "layer 'dense_1': activation is {'module': 'mine'",
    ),
    "a class of one's own": (
        lambda c: c["lstm"].update(module="my_layers", registered_name="LSTM"),
        "layer 'lstm' is of a class LSTM that is not Keras' own: 'my_layers'",
    ),
    "a registered class of one's own": (
        lambda c: c["dense_1"].update(registered_name="mine>Dense"),
        "layer 'dense_1' is of a class Dense that is not Keras' own: 'mine>Dense'",
    ),
    "a class that is no name": (
        lambda c: c["lstm"].update(class_name="\x1b[2J"),
        r"layer 'lstm' is of a class '\\x1b\[2J', which is no name of one",
    ),
    "a name without end": (
        lambda c: c["lstm"].update(name="n" * 9999) or c["lstm"]["config"].update(name="n" * 9999),
        "has a layer with a name of 9999 characters; 200 are read",
    ),
    "another dropout": (
        lambda c: c["dropout_4"]["config"].update(rate=0.9),
        r"layer 'dropout_\d+': rate is 0.\d, expected 0.\d",
    ),
    "dropout inside the LSTM": (lambda c: c["lstm"]["config"].update(dropout=0.1), "'lstm': dropout is 0.1"),
    "dropout left out": (
        lambda c: c["conv1d_2"].update(inbound_nodes=[[["conv1d_1", 0, 0, {}]]]),
        "layer 'conv1d_1' is a Conv1D layer where one of class Dropout was expected",
    ),
    "dropout gone": (
        lambda c: c["dense_2"].update(inbound_nodes=[[["dense_1", 0, 0, {}]]]),
        "layer 'dense_1' is a Dense layer where one of class Dropout was expected",
    ),
    "another recurrence": (
        lambda c: c["lstm_1"].update(class_name="GRU"),
        "the branch from 'track_input_cr' to 'dropout_7' lacks a Conv1D or an LSTM layer",
    ),
    "a layer unknown": (
        lambda c: c["dropout_11"].update(class_name="BatchNormalization"),
        "layer 'dropout_11' is a BatchNormalization layer where one of class Dropout was expected",
    ),
    "fewer slots": (
        lambda c: c["MSeg_input_cr"]["config"].update(batch_input_shape=[None, 20, 6]),
        r"layer 'MSeg_input_cr' takes \(20, 6\) slots and inputs, expected \(30, 6\)",
    ),
    "another width": (
        lambda c: c["conv1d_3"]["config"].update(filters=65),
        r"layer 'conv1d_3' .*: kernel has shape \(10, 64\), expected \(10, 65\)",
    ),
    "a width that is none": (
        lambda c: c["conv1d_3"]["config"].update(filters=True),
        "layer 'conv1d_3': filters is True, expected a whole number",
    ),
    "branches exchanged": (
        lambda c: c["concatenate"]["inbound_nodes"][0].reverse(),
        "layer 'dropout_3' is no input of shape",
    ),
    "another axis": (lambda c: c["concatenate"]["config"].update(axis=0), "layer 'concatenate': axis is 0"),
    "a circle": (
        lambda c: c["conv1d"].update(inbound_nodes=[[["lstm", 0, 0, {}]]]),
        "expected one layer behind an input",
    ),
    "a source that is not there": (
        lambda c: c["conv1d"].update(inbound_nodes=[[["constit_input", 0, 0, {}]]]),
        r"layer 'conv1d' reads 'constit_input', which is not there \(did you mean constit_input_cr\?\)",
    ),
    "used twice": (
        lambda c: c["conv1d"]["inbound_nodes"].append([["track_input_cr", 0, 0, {}]]),
        "layer 'conv1d' is used 2 times",
    ),
    "a mask": (
        lambda c: c["lstm"].update(inbound_nodes=[[["dropout_2", 0, 0, {"mask": 1}]]]),
        "layer 'lstm' reads .* expected the first output of a layer",
    ),
    "an adversary": (
        lambda c: c["main_output"].update(name="adversary_1") or c["main_output"]["config"].update(name="adversary_1"),
        "gives out the layers|of an adversary",
    ),
}


@pytest.mark.parametrize("what", CHANGES)
def test_a_network_that_computes_something_else_is_refused_by_its_layer(
    what: str, weights: dict[str, np.ndarray], tmp_path: Path
) -> None:
    change, said = CHANGES[what]
    config = keras_2_config(DEFAULT_SHAPE)
    change(layers_of(config))
    with pytest.raises(InputFileError, match=said):
        read_network(written(tmp_path, keras_2_zip(DEFAULT_SHAPE, weights, config)))


def test_layers_without_a_part_in_the_scores_are_refused(weights: dict[str, np.ndarray], tmp_path: Path) -> None:
    config = keras_2_config(DEFAULT_SHAPE)
    extra = copy.deepcopy(layers_of(config)["dropout"])
    extra["name"] = extra["config"]["name"] = "dropout_extra"
    config["config"]["layers"].append(extra)
    with pytest.raises(InputFileError, match="layer 'dropout_extra' has no part in the scores"):
        read_network(written(tmp_path, legacy_hdf5(DEFAULT_SHAPE, weights, config)))


def test_a_layer_missing_from_the_config_is_refused(weights: dict[str, np.ndarray], tmp_path: Path) -> None:
    config = keras_2_config(DEFAULT_SHAPE)
    config["config"]["layers"] = [each for each in config["config"]["layers"] if each["name"] != "conv1d_5"]
    with pytest.raises(InputFileError, match="layer 'dropout_5' reads 'conv1d_5', which is not there"):
        read_network(written(tmp_path, legacy_hdf5(DEFAULT_SHAPE, weights, config)))


def in_order(change: Callable[[list[str]], Any]) -> Callable[[Any], None]:
    """Change of the list of layers in a file of weights."""

    def changed(file: Any) -> None:
        names = list(file.attrs["layer_names"])
        change(names)
        file.attrs["layer_names"] = names

    return changed


def swap(names: list[str]) -> None:
    """Exchanges two layers of equal shape."""
    first, second = names.index("conv1d_5"), names.index("conv1d_2")
    names[first], names[second] = names[second], names[first]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (swap, "layer 'conv1d_5' stands where 'conv1d_2' was expected"),
        (lambda names: names.remove("lstm_1"), "11 Conv1D, 2 LSTM and 3 Dense layers, which make no network"),
        (lambda names: names.remove("dropout_4"), "layer 'conv1d_6' stands where 'dropout_4' was expected"),
        (lambda names: names.append("concatenate"), "layer 'concatenate' stands where None was expected"),
    ],
)
def test_weights_alone_are_refused_where_names_and_order_disagree(
    change: Callable[[list[str]], Any], said: str, weights: dict[str, np.ndarray], tmp_path: Path
) -> None:
    content = with_hdf5_changed(legacy_hdf5(DEFAULT_SHAPE, weights), in_order(change))
    with pytest.raises(InputFileError, match=said):
        read_network(written(tmp_path, content))


@pytest.mark.parametrize("depths", [(5, 5, 2), (4, 3, 4), (1, 1, 1), (6, 2, 4)])
def test_weights_without_names_are_told_by_order_and_shape(depths: tuple[int, int, int], tmp_path: Path) -> None:
    kinds = ("clusters", "tracks", "muon_segments")
    branches = tuple(branch_shape(name, (16,) * depth, 4) for name, depth in zip(kinds, depths, strict=True))
    shape = NetworkShape(branches, hidden=(8, 8))
    found = read_network(written(tmp_path, numbered_hdf5(shape, random_weights(shape, seed=1))))
    assert found.shape == shape


def test_a_kernel_without_dimensions_is_refused_by_its_layer(tmp_path: Path) -> None:
    def without_dimensions(file: h5py.File) -> None:
        variables = file["_layer_checkpoint_dependencies/dense/vars"]
        del variables["0"]
        variables.create_dataset("0", data=np.float32(1))

    content = numbered_hdf5(DEFAULT_SHAPE, random_weights(DEFAULT_SHAPE, seed=1))
    with pytest.raises(InputFileError, match=r"kernel has shape \(\); with these"):
        read_network(written(tmp_path, with_hdf5_changed(content, without_dimensions)))


def test_a_layer_without_weights_is_refused_by_its_place(tmp_path: Path) -> None:
    def emptied(file: h5py.File) -> None:
        variables = file["_layer_checkpoint_dependencies/dense/vars"]
        for name in list(variables):
            del variables[name]

    content = numbered_hdf5(DEFAULT_SHAPE, random_weights(DEFAULT_SHAPE, seed=1))
    with pytest.raises(InputFileError, match=r"dense.* 0 weights of a Dense layer, expected 2"):
        read_network(written(tmp_path, with_hdf5_changed(content, emptied)))


def test_weights_that_fit_several_networks_are_told_by_their_names_or_refused(tmp_path: Path) -> None:
    shape = NetworkShape(
        branches=(
            branch_shape("clusters", (10, 6), 4),
            branch_shape("tracks", (10,), 4),
            branch_shape("muon_segments", (10, 12, 6), 4),
        ),
        hidden=(8, 8),
    )
    expected = random_weights(shape, seed=1)
    assert read_network(written(tmp_path, legacy_hdf5(shape, expected))).shape == shape
    with pytest.raises(InputFileError, match=r"several networks fit, with \[1, 1, 4\]; \[2, 1, 3\] layers"):
        read_network(written(tmp_path, numbered_hdf5(shape, expected)))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is no network file: .* found nothing"),
        (b"PK\x03\x04 and no more", "is a damaged zip file"),
        (b"\x89HDF\r\n\x1a\n" + bytes(200), "the HDF5 data is damaged"),
        (b"{", "is no valid JSON"),
        (b"[1, 2]", "is no network file"),
        (b'{"architecture": NaN}', "holds NaN, which is no number"),
        (b'{"architecture": 1e999}', "holds 1e999, which is too large"),
        (b'{"a": ' + b"[" * 200_000, "nested too deeply"),
        (b'{"architecture": {}, "architecture": {}}', "has 'architecture' twice"),
        (b'{"architecture": ' + b"9" * 5000 + b"}", "is no valid JSON"),
        (b'{"layers": []}', "is no file of frugally-deep"),
        (b"hello", "is no network file"),
    ],
)
def test_a_file_that_is_none_is_refused_in_a_sentence(content: bytes, said: str, tmp_path: Path) -> None:
    with pytest.raises(InputFileError, match=said):
        read_network(written(tmp_path, content, "final_model.keras"))


def test_json_that_would_take_all_memory_is_refused_before_it_is_parsed(tmp_path: Path) -> None:
    content = b'{"architecture": [' + b"{}," * (12 << 20) + b"{}]}"
    with pytest.raises(InputFileError, match="has more than 33554432 bytes, too many for the JSON of a network"):
        read_network(written(tmp_path, content))


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "none.keras", tmp_path):
        with pytest.raises(InputFileError, match=r"no such file|[Dd]irectory"):
            read_network(path)


def test_zip_bombs_and_paths_in_zips_are_refused(weights: dict[str, np.ndarray], tmp_path: Path) -> None:
    with zipfile.ZipFile(written(tmp_path, keras_2_zip(DEFAULT_SHAPE, weights))) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    bomb = parts | {"config.json": b" " * (80 << 20)}
    with pytest.raises(InputFileError, match=r"config\.json unpacks to 83886080 bytes; at most 8388608 are read"):
        read_network(written(tmp_path, zipped(bomb, zipfile.ZIP_DEFLATED)))
    elsewhere = {f"../{name}": content for name, content in parts.items()}
    with pytest.raises(InputFileError, match=r"holds 0 parts named metadata\.json, expected 1"):
        read_network(written(tmp_path, zipped(elsewhere)))
    many = parts | {f"part{i}": b"" for i in range(2000)}
    with pytest.raises(InputFileError, match="holds 2003 parts"):
        read_network(written(tmp_path, zipped(many)))
    assert [path.name for path in tmp_path.iterdir()] == ["network"]
    assert not any((tmp_path.parent / name).exists() for name in parts)


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_parts_that_are_packed_as_no_keras_packs_them_are_refused(method: int, tmp_path: Path) -> None:
    content = zipped({"metadata.json": b" " * 100, "config.json": b"{}", "model.weights.h5": b""}, method)
    with pytest.raises(InputFileError, match=rf"its part metadata\.json is packed by method {method}; stored and"):
        read_network(written(tmp_path, content))


def test_a_zip_that_says_less_than_it_unpacks_to_is_refused(weights: dict[str, np.ndarray], tmp_path: Path) -> None:
    content = zipped({"metadata.json": b" " * (1 << 18)}, zipfile.ZIP_DEFLATED)
    said_small = content.replace((1 << 18).to_bytes(4, "little"), (100).to_bytes(4, "little"))
    assert said_small != content
    with pytest.raises(InputFileError, match="is a damaged zip file: Bad CRC"):
        read_network(written(tmp_path, said_small))


def test_one_config_of_many_layers_ends_soon(weights: dict[str, np.ndarray], tmp_path: Path) -> None:
    config = keras_2_config(DEFAULT_SHAPE)
    config["config"]["layers"] *= 30
    with pytest.raises(InputFileError, match="has 1050 layers"):
        read_network(written(tmp_path, keras_2_zip(DEFAULT_SHAPE, weights, config)))


def test_a_deep_network_with_huge_layers_takes_no_memory(weights: dict[str, np.ndarray], tmp_path: Path) -> None:
    config = keras_2_config(DEFAULT_SHAPE)
    for name in ("dense_1", "dense_2"):
        layers_of(config)[name]["config"]["units"] = 65536
    with pytest.raises(InputFileError, match=r"kernel has shape \(28, 512\), expected \(28, 65536\)"):
        read_network(written(tmp_path, keras_2_zip(DEFAULT_SHAPE, weights, config)))
