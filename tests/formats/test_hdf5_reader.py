"""Malicious HDF5 data, refused with a sentence by a process that may hang or crash."""

from collections.abc import Callable
from typing import Any

import h5py
import numpy as np
import pytest

from cal_ratio_trainer.formats import hdf5_reader
from cal_ratio_trainer.formats.hdf5_reader import BadHdf5, read_hdf5
from cal_ratio_trainer.network.shape import DEFAULT_SHAPE
from tests.formats.earlier_files import keras_2_config, legacy_hdf5, numbered_hdf5, with_hdf5_changed
from tests.formats.numpy_network import random_weights

_START = hdf5_reader._run_reader

BIAS = "main_output/main_output/bias:0"


@pytest.fixture(autouse=True)
def started_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reads HDF5 data as the program does, by a process that is started for it."""
    monkeypatch.setattr(hdf5_reader, "_run_reader", _START)


@pytest.fixture(scope="module")
def good() -> bytes:
    """Weights alone, in the older form."""
    return legacy_hdf5(DEFAULT_SHAPE, random_weights(DEFAULT_SHAPE, seed=1))


def in_place(place: str, values: Any) -> Callable[[h5py.File], None]:
    """Change that replaces a data set."""

    def change(file: h5py.File) -> None:
        del file[place]
        file[place] = values

    return change


def outside(file: h5py.File) -> None:
    """Moves a bias to another file."""
    del file[BIAS]
    file.create_dataset(BIAS, shape=(3,), dtype="f4", external=[("/etc/hostname", 0, 12)])


def virtual(file: h5py.File) -> None:
    """Makes a bias a virtual data set of other files."""
    del file[BIAS]
    layout = h5py.VirtualLayout(shape=(3,), dtype="f4")
    layout[:] = h5py.VirtualSource("/etc/other.h5", "x", shape=(3,))
    file.create_virtual_dataset(BIAS, layout)


def huge(file: h5py.File) -> None:
    """Data set with a declared size of 4 TiB and no content."""
    del file[BIAS]
    file.create_dataset(BIAS, shape=(1 << 40,), dtype="f4", chunks=(1 << 20,), compression="gzip")


def references(file: h5py.File) -> None:
    """Data set of object references instead of numbers."""
    del file[BIAS]
    data = file.create_dataset(BIAS, shape=(3,), dtype=h5py.ref_dtype)
    data[:] = file["lstm"].ref


def named(attribute: str, value: Any, holder: str = "/") -> Callable[[h5py.File], None]:
    """A change of an attribute."""

    def change(file: h5py.File) -> None:
        file[holder].attrs[attribute] = value

    return change


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (in_place(BIAS, np.zeros(3)), "main_output/main_output/bias:0 is float64, expected float32"),
        (in_place(BIAS, np.zeros(3, "i4")), "is int32, expected float32"),
        (in_place(BIAS, np.zeros(3, [("a", "f4")])), "is .*, expected float32"),
        (in_place(BIAS, np.zeros((1, 1, 1, 3), "f4")), r"has shape \(1, 1, 1, 3\)"),
        (in_place(BIAS, np.zeros((3, 1), "f4")), r"layer 'main_output' has weights of shapes \(64, 3\), \(3, 1\)"),
        (in_place(BIAS, h5py.Empty("f4")), "has shape None"),
        (in_place(BIAS, h5py.ExternalLink("/etc/other.h5", "x")), "main_output/bias:0 of /main_output is missing"),
        (in_place(BIAS, h5py.SoftLink("/dense_2/dense_2/bias:0")), "main_output/bias:0 of /main_output is missing"),
        (lambda f: f.pop("lstm_2"), "lstm_2 of / is missing"),
        (outside, "main_output/bias:0 is no plain data"),
        (virtual, "main_output/bias:0 is no plain data"),
        (huge, r"has shape \(1099511627776,\); files with at most 16777216 numbers are read"),
        (references, "is object, expected float32"),
        (named("layer_names", 3), r"layer_names of / is int\d+ \(\), expected a list of names"),
        (named("layer_names", ["x" * 2000]), "expected a text of at most 1024 characters"),
        (named("layer_names", ["a\x1b[2J"]), r"layer_names holds 'a\\x1b\[2J', expected a name"),
        (named("layer_names", [b"a\xff"]), "layer_names holds 'a.*ff', expected a name"),
        (named("layer_names", np.zeros((2, 2))), "layer_names of / is float64"),
        (named("weight_names", np.ones(2), "lstm"), "weight_names of /lstm is float64"),
        (named("weight_names", ["../../dense_1"], "lstm"), r"\.\./\.\./dense_1 of /lstm is missing"),
        (
            named("weight_names", ["lstm/lstm/recurrent_kernel:0", "lstm/lstm/kernel:0", "lstm/lstm/bias:0"], "lstm"),
            "layer 'lstm' has its weights in the order recurrent_kernel, kernel, bias, expected kernel, recurrent_ker",
        ),
        (named("keras_version", [b"2.13", b"2"]), "keras_version of / is .*, expected a text"),
    ],
)
def test_what_is_no_plain_float_array_is_refused_by_its_place(
    change: Callable[[h5py.File], None], said: str, good: bytes
) -> None:
    with pytest.raises(BadHdf5, match=said):
        read_hdf5(with_hdf5_changed(good, change))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda f: f.pop("_layer_checkpoint_dependencies"), "is no HDF5 file of Keras"),
        (lambda f: f.create_group("layers"), "is no HDF5 file of Keras"),
        (lambda f: f.create_group("_layer_checkpoint_dependencies/Strange Name"), "group 'Strange Name' where one of"),
        (
            lambda f: f.create_dataset("_layer_checkpoint_dependencies/conv1d/vars/a\x1b[2J", data=np.zeros(1)),
            r"conv1d/a\\x1b\[2J is float64",
        ),
        (lambda f: f.pop("_layer_checkpoint_dependencies/lstm_2/cell"), "lstm_2/cell/vars of .* is missing"),
    ],
)
def test_the_newer_form_is_refused_likewise(change: Callable[[h5py.File], Any], said: str) -> None:
    content = numbered_hdf5(DEFAULT_SHAPE, random_weights(DEFAULT_SHAPE, seed=1))
    with pytest.raises(BadHdf5, match=said):
        read_hdf5(with_hdf5_changed(content, change))


def test_a_truncated_file_is_refused(good: bytes) -> None:
    for length in (0, 8, 100, 3000, len(good) // 2, len(good) - 1):
        with pytest.raises(BadHdf5, match="the HDF5 data is damaged"):
            read_hdf5(good[:length])


def test_a_config_is_read_only_where_it_is_a_text_of_reasonable_length() -> None:
    content = legacy_hdf5(DEFAULT_SHAPE, random_weights(DEFAULT_SHAPE, seed=1), keras_2_config(DEFAULT_SHAPE))
    assert read_hdf5(content).config is not None
    with pytest.raises(BadHdf5, match="expected a text of at most 8388608 characters"):
        read_hdf5(with_hdf5_changed(content, named("model_config", "x" * (9 << 20))))


def test_data_that_are_read_for_ever_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that does not end (here: one that sleeps) is stopped with a message."""
    monkeypatch.setattr(hdf5_reader, "_READER", ("-c", "import time; time.sleep(600)"))
    monkeypatch.setattr(hdf5_reader, "_TIMEOUT_S", 0.5)
    with pytest.raises(BadHdf5, match="reading it does not end"):
        read_hdf5(b"anything")


@pytest.mark.parametrize("ending", ["import os; os.abort()", "raise SystemExit(3)", "print('no answer')"])
def test_a_library_that_crashes_is_told_as_damage(ending: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hdf5_reader, "_READER", ("-c", ending))
    with pytest.raises(BadHdf5, match="the library that reads it ended with"):
        read_hdf5(b"anything")
