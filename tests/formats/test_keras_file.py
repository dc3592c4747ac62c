"""`.keras` files: scores by Keras, files that Keras saved again, and files that the reader refuses."""

import io
import json
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from cal_ratio_trainer.errors import InputFileError
from cal_ratio_trainer.formats import hdf5_reader
from cal_ratio_trainer.formats.keras_encoders import OPERATIONS, keras_layers
from cal_ratio_trainer.formats.keras_file import keras_model_bytes, write_keras
from cal_ratio_trainer.formats.keras_reading import network_from_zip
from cal_ratio_trainer.formats.layers import NonFiniteWeights, classifier_layers
from cal_ratio_trainer.formats.network_file import read_own_network
from cal_ratio_trainer.formats.registry import read_network
from cal_ratio_trainer.formats.stored_network import BadNetworkFile
from cal_ratio_trainer.network.shape import DEFAULT_SHAPE
from tests.formats.numpy_network import random_inputs, random_weights, scores
from tests.formats.shapes import ANY_LENGTH, SHAPES

FILLED = (0, 1, 5, 30)
SWAPPED = "swapped"
WITHOUT_LSTM = {name: ANY_LENGTH[name] for name in ("deep_sets_of_one_layer_with_masses", "transformer")}
ALL_SHAPES = {**SHAPES, **WITHOUT_LSTM}


@dataclass(frozen=True)
class Answers:
    """Scores by Keras for the files of one folder."""

    folder: Path

    def scores(self, name: str) -> np.ndarray:
        """The scores of one file, [jets, 3]."""
        stored: np.ndarray = np.load(self.folder / f"{name}.npy")
        return stored

    def layers(self, name: str) -> list[str]:
        """The layers of one file in Keras' order."""
        names: list[str] = json.loads((self.folder / f"{name}.json").read_text())
        return names


@pytest.fixture(scope="module")
def keras_answers(tmp_path_factory: pytest.TempPathFactory) -> Answers:
    """Scores by Keras, run once in a separate process on a file of every shape and on one with two layers swapped."""
    folder = tmp_path_factory.mktemp("keras")
    for name, shape in ALL_SHAPES.items():
        write_keras(folder / f"{name}.keras", shape, random_weights(shape, seed=1))
        constituents, jets = random_inputs(shape, FILLED, seed=2)
        np.savez(folder / f"{name}.npz", *constituents, jets)
    (folder / f"{SWAPPED}.keras").write_bytes(with_weights_changed(folder / "equal_branches.keras", swap_convolutions))
    (folder / f"{SWAPPED}.npz").write_bytes((folder / "equal_branches.npz").read_bytes())
    script = Path(__file__).with_name("keras_scores.py")
    subprocess.run([sys.executable, str(script), str(folder)], check=True, timeout=300)
    return Answers(folder)


def with_weights_changed(path: Path, change: Callable[[h5py.File], None]) -> bytes:
    """The bytes of a `.keras` file after a change to its HDF5 part."""

    def changed(content: bytes) -> bytes:
        buffer = io.BytesIO(content)
        with h5py.File(buffer, "r+") as file:
            change(file)
        return buffer.getvalue()

    return with_part_changed(path, "model.weights.h5", changed)


def with_part_changed(path: Path, part: str, change: Callable[[bytes], bytes]) -> bytes:
    """The bytes of a `.keras` file after a change to one of its parts."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            content = old.read(name)
            new.writestr(name, change(content) if name == part else content)
    return buffer.getvalue()


def with_config_changed(path: Path, change: Callable[[dict[str, Any]], None]) -> bytes:
    """The bytes of a `.keras` file after a change to its config; `change` gets the layers by name."""

    def changed(content: bytes) -> bytes:
        config = json.loads(content)
        change({entry["name"]: entry for entry in config["config"]["layers"]})
        return json.dumps(config).encode()

    return with_part_changed(path, "config.json", changed)


def swap_convolutions(file: h5py.File) -> None:
    """Exchanges the last convolutions of two branches of equal shape."""
    file.move("layers/conv1d_6", "aside")
    file.move("layers/conv1d_7", "layers/conv1d_6")
    file.move("aside", "layers/conv1d_7")


@pytest.mark.parametrize("name", ALL_SHAPES)
def test_keras_predicts_what_the_numpy_network_does_for_jets_of_no_one_some_and_all_slots(
    name: str, keras_answers: Answers
) -> None:
    shape = ALL_SHAPES[name]
    expected = scores(shape, random_weights(shape, seed=1), *random_inputs(shape, FILLED, seed=2))
    np.testing.assert_allclose(keras_answers.scores(name), expected, rtol=0, atol=1e-5)
    assert np.ptp(expected, axis=0).min() > 1e-3, "the jets must differ for this to say anything"


SAVED_AGAIN = ("default", "other_widths", "two_lstm_layers", "two_masses")


@pytest.mark.parametrize("name", SAVED_AGAIN)
def test_the_weights_alone_out_of_what_keras_3_saved_are_the_same(
    name: str, keras_answers: Answers, tmp_path: Path
) -> None:
    with zipfile.ZipFile(keras_answers.folder / "saved_again" / f"{name}.keras") as archive:
        archive.extract("model.weights.h5", tmp_path)
    found = read_network(tmp_path / "model.weights.h5")
    for weight, values in random_weights(SHAPES[name], seed=1).items():
        np.testing.assert_array_equal(found.weights[weight], values)


@pytest.mark.parametrize("name", SAVED_AGAIN)
def test_what_keras_3_saved_is_imported_and_gives_keras_scores(name: str, keras_answers: Answers) -> None:
    found = read_network(keras_answers.folder / "saved_again" / f"{name}.keras")
    assert found.shape == SHAPES[name]
    assert found.form.startswith("zip of Keras 3.")
    computed = scores(found.shape, found.weights, *random_inputs(found.shape, FILLED, seed=2))
    np.testing.assert_allclose(computed, keras_answers.scores(name), rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", ALL_SHAPES)
def test_layers_stand_in_the_order_that_keras_gives_them(name: str, keras_answers: Answers) -> None:
    # An operation is no layer.
    ours = [layer.name for layer in keras_layers(ALL_SHAPES[name]) if layer.kind not in OPERATIONS]
    assert ours == keras_answers.layers(name)


@pytest.mark.parametrize("name", WITHOUT_LSTM)
def test_networks_without_lstm_are_read_back_as_written_and_not_as_keras_saved_them(
    name: str, keras_answers: Answers
) -> None:
    file, shape = keras_answers.folder / f"{name}.keras", ANY_LENGTH[name]
    stored = read_own_network(file)
    found, weights = stored.shape, stored.weights
    assert found == shape
    for weight, values in random_weights(shape, seed=1).items():
        np.testing.assert_array_equal(weights[weight], values)
    with pytest.raises(InputFileError, match="not as Keras saved it again"):
        read_network(keras_answers.folder / "saved_again" / f"{name}.keras")

    def other_scale(layers: dict[str, Any]) -> None:
        layers["clusters_negative"]["config"]["scale"] = 1.0

    for content, told in (
        (with_config_changed(file, other_scale), "is not that of the network that metadata.json describes"),
        (with_part_changed(file, "metadata.json", lambda part: part.replace(b'"dense"', b'"dance"')), "no shape"),
        (with_part_changed(file, "model.weights.h5", lambda part: part[:-8]), "the HDF5 data is damaged"),
    ):
        with pytest.raises(BadNetworkFile, match=told):
            network_from_zip(content)


@pytest.mark.parametrize("name", SHAPES)
def test_what_is_written_reads_back_even_after_keras_saved_it_again(name: str, keras_answers: Answers) -> None:
    expected = random_weights(SHAPES[name], seed=1)
    for folder in (keras_answers.folder, keras_answers.folder / "saved_again"):
        stored = read_own_network(folder / f"{name}.keras")
        shape, weights = stored.shape, stored.weights
        assert shape == SHAPES[name]
        assert weights.keys() == expected.keys()
        for weight, values in expected.items():
            np.testing.assert_array_equal(weights[weight], values)


def test_swapped_layers_of_equal_shape_change_the_prediction_and_our_reader_names_them(keras_answers: Answers) -> None:
    difference = np.abs(keras_answers.scores(SWAPPED) - keras_answers.scores("equal_branches"))
    assert difference.max() > 1e-3
    with pytest.raises(InputFileError, match=r"conv1d_6 holds the weights of layer '.*_final_conv1d'"):
        read_own_network(keras_answers.folder / f"{SWAPPED}.keras")


def test_the_same_weights_give_the_same_bytes_and_other_weights_do_not() -> None:
    weights = random_weights(DEFAULT_SHAPE, seed=1)
    first = keras_model_bytes(DEFAULT_SHAPE, weights)
    time.sleep(1.1)  # HDF5 and zip note times in whole seconds
    backwards = dict(reversed(weights.items()))
    assert keras_model_bytes(DEFAULT_SHAPE, backwards) == first
    weights["output.bias"][0] += 1
    assert keras_model_bytes(DEFAULT_SHAPE, weights) != first


def test_layers_of_the_default_network_are_those_of_the_earlier_program(real: Path) -> None:
    stored = real / "reference" / "deploy" / "untrained_zip_final_model_zip_config.json"
    earlier = json.loads(stored.read_text())["config"]["layers"]
    ours = classifier_layers(DEFAULT_SHAPE)
    assert [layer.name for layer in ours] == [entry["name"] for entry in earlier]
    for layer, entry in zip(ours, earlier, strict=True):
        assert layer.kind == entry["class_name"]
        sources = [source[0] for node in entry["inbound_nodes"] for source in node]
        assert list(layer.sources) == sources
        # Keras 2 has no kernel_size as list and lacks later defaults.
        for setting in layer.settings.keys() & entry["config"].keys():
            assert layer.settings[setting] == entry["config"][setting], f"{setting} of {layer.name}"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda w: w.pop("output.bias"), r"missing or unknown: \['output.bias'\]"),
        (lambda w: w.update(extra=np.zeros(3)), r"missing or unknown: \['extra'\]"),
        (lambda w: w.update({"output.bias": np.zeros(4)}), r"output.bias has shape \(4,\), expected \(3,\)"),
    ],
)
def test_weights_that_do_not_fit_the_shape_are_refused(change: Callable[[dict[str, Any]], None], said: str) -> None:
    weights: dict[str, Any] = random_weights(DEFAULT_SHAPE, seed=1)
    change(weights)
    with pytest.raises(ValueError, match=said):
        keras_model_bytes(DEFAULT_SHAPE, weights)


def test_weights_of_a_diverged_training_are_refused_and_nothing_is_left_behind(tmp_path: Path) -> None:
    weights = random_weights(DEFAULT_SHAPE, seed=1)
    weights["tracks.lstm.0.bias"][3] = np.nan
    with pytest.raises(NonFiniteWeights, match=r"tracks.lstm.0.bias holds 1 values that are not finite"):
        write_keras(tmp_path / "network.keras", DEFAULT_SHAPE, weights)
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A good file of the default network."""
    path = tmp_path_factory.mktemp("good") / "good.keras"
    write_keras(path, DEFAULT_SHAPE, random_weights(DEFAULT_SHAPE, seed=1))
    return path


def set_weight(place: str, values: Any) -> Callable[[h5py.File], None]:
    """Change that replaces the values of a weight."""

    def change(file: h5py.File) -> None:
        del file[place]
        file[place] = values

    return change


def link_weight(place: str, link: Any) -> Callable[[h5py.File], None]:
    """Change that replaces a weight by a link."""
    return set_weight(place, link)


def make_external(file: h5py.File) -> None:
    """Moves the bias of the output to another file."""
    del file["layers/dense_2/vars/1"]
    file.create_dataset("layers/dense_2/vars/1", shape=(3,), dtype="f4", external=[("/etc/hostname", 0, 12)])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda f: f.pop("layers/lstm_1"), "holds weights of 2 layers of class LSTM, expected 3 .lstm, lstm_1, lstm_2"),
        (
            lambda f: f.pop("layers/dense/vars/0"),
            "layer 'dense_1' .layers/dense.: 1 weights of a Dense layer, expected 2 of a Dense layer",
        ),
        (set_weight("layers/dense_2/vars/1", np.zeros(3)), "layers/dense_2/1 is float64, expected float32"),
        (
            set_weight("layers/dense_2/vars/1", np.zeros(4, "f4")),
            r"layer 'main_output' .*: bias has shape \(4,\), expected",
        ),
        (
            set_weight("layers/dense_2/vars/1", np.full(3, np.inf, "f4")),
            "layer 'main_output' .*: bias holds 3 values that are not",
        ),
        (
            link_weight("layers/dense_2/vars/1", h5py.ExternalLink("/etc/other.h5", "x")),
            "1 of /layers/dense_2/vars is missing",
        ),
        (
            link_weight("layers/dense_2/vars/1", h5py.SoftLink("/layers/dense/vars/1")),
            "1 of /layers/dense_2/vars is missing",
        ),
        (make_external, "layers/dense_2/1 is no plain data"),
    ],
)
def test_wrong_weights_are_refused_by_the_name_of_their_layer(
    change: Callable[[h5py.File], None], said: str, good: Path, tmp_path: Path
) -> None:
    path = tmp_path / "bad.keras"
    path.write_bytes(with_weights_changed(good, change))
    with pytest.raises(InputFileError, match=said):
        read_own_network(path)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda c: c["lstm"]["config"].update(go_backwards=True), "layer 'lstm': go_backwards is True, expected False"),
        (lambda c: c["conv1d_3"]["config"].update(activation="tanh"), "layer 'conv1d_3': activation is 'tanh'"),
        (lambda c: c["dense_1"]["config"].update(units="512"), "layer 'dense_1': units is '512'"),
        (lambda c: c["dense_1"]["config"].update(units=-512), "layer 'dense_1': units is -512"),
        (lambda c: c["dropout_4"]["config"].update(rate=0.9), "layer 'dropout_4': rate is 0.9, expected 0.2"),
        (
            lambda c: c["MSeg_input_cr"]["config"].update(batch_shape=[None, 30, 7]),
            r"layer 'MSeg_input_cr' takes \(30, 7\) slots and inputs, expected \(30, 6\) of muon",
        ),
        (lambda c: c["lstm_1"].update(class_name="GRU"), "the branch from 'track_input_cr' to .* lacks"),
        (lambda c: c["dense_2"]["config"].pop("units"), "layer 'dense_2': units is None"),
        (
            lambda c: c["dense_1"]["config"].update(units=10**30),
            "layer 'dense_1': units is 10{30}, expected a whole number",
        ),
        (lambda c: c["dropout_3"]["config"].update(rate=10**400), "layer 'dropout_3': rate is 10+, expected 0.2"),
        (lambda c: c["dropout_3"]["config"].update(rate=-0.5), "layer 'dropout_3': rate is -0.5, expected 0.2"),
        (
            lambda c: c["jet_input_cr"]["config"].update(batch_shape=[None, 6]),
            "has 6 inputs, expected 3 and up to 2 mass",
        ),
        (lambda c: c["MSeg_input_cr"].update(name="x"), "has a layer that is called 'x' and 'MSeg_input_cr'"),
        (
            lambda c: c["dropout_4"].update(name="dropout_5") or c["dropout_4"]["config"].update(name="dropout_5"),
            "has two layers named 'dropout_5'",
        ),
        (
            lambda c: c["conv1d"]["config"].update(activation="x" * 5000),
            "layer 'conv1d': activation is 'x{79}, expected",
        ),
    ],
)
def test_a_config_that_computes_something_else_is_refused(
    change: Callable[[dict[str, Any]], None], said: str, good: Path, tmp_path: Path
) -> None:
    path = tmp_path / "bad.keras"
    path.write_bytes(with_config_changed(good, change))
    with pytest.raises(InputFileError, match=said):
        read_own_network(path)


def bomb(good: Path) -> bytes:
    """File whose config unpacks to ten times the allowed size."""
    return with_part_changed(good, "config.json", lambda _: b" " * (80 << 20))


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda good: b"", "is no Keras 3 file"),
        (lambda good: b"\x89HDF\r\n\x1a\n" + bytes(100), "is a file of Keras 2, .* 'cr_trainer import' makes a run"),
        (
            lambda good: with_part_changed(good, "metadata.json", lambda _: b'{"keras_version": "2.13.1"}'),
            "is a file of Keras 2, .* 'cr_trainer import' makes a run",
        ),
        (lambda good: good.read_bytes()[:20000], "is a damaged zip file"),
        (lambda good: with_part_changed(good, "config.json", lambda _: b"{"), "config.json: is no valid JSON"),
        (lambda good: with_part_changed(good, "config.json", lambda _: b"[" * 100000), "config.json: is no valid JSON"),
        (
            lambda good: with_part_changed(good, "config.json", lambda _: b"[1]"),
            "config.json: the config has no class_name",
        ),
        (
            lambda good: with_part_changed(good, "config.json", lambda c: c.replace(b'"lstm"', b'"\\ud800"')),
            "config.json: holds half a character, which is no text",
        ),
        (
            lambda good: with_part_changed(good, "config.json", lambda c: c.replace(b"{", b'{"module": 1, ', 1)),
            "config.json: has 'module' twice in one object",
        ),
        (lambda good: with_part_changed(good, "model.weights.h5", lambda c: c[:9000]), "model.weights.h5: the HDF5"),
        (
            lambda good: with_part_changed(good, "model.weights.h5", lambda c: c[:54] + b"\xfe" + c[55:]),
            "model.weights.h5: the HDF5 data is damaged",
        ),
        (bomb, "config.json unpacks to 83886080 bytes; at most 8388608 are read"),
    ],
)
def test_a_file_that_is_none_is_refused_in_a_sentence(
    make: Callable[[Path], bytes], said: str, good: Path, tmp_path: Path
) -> None:
    path = tmp_path / "bad.keras"
    path.write_bytes(make(good))
    with pytest.raises(InputFileError, match=said):
        read_own_network(path)


def test_a_part_that_is_missing_or_there_twice_is_refused(good: Path, tmp_path: Path) -> None:
    path = tmp_path / "bad.keras"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("metadata.json", "{}")
        archive.writestr("../config.json", "{}")
    with pytest.raises(InputFileError, match=r"holds 0 parts named config\.json, expected 1"):
        read_own_network(path)
    path.write_bytes(good.read_bytes())
    with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning, match="Duplicate name"):
        archive.writestr("config.json", "{}")
    with pytest.raises(InputFileError, match=r"holds 2 parts named config\.json, expected 1"):
        read_own_network(path)


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputFileError, match="no such file"):
        read_own_network(tmp_path / "none.keras")
    with pytest.raises(InputFileError, match="Is a directory"):
        read_own_network(tmp_path)


@pytest.mark.real
@pytest.mark.parametrize("folder", ["untrained_zip", "trained"])
def test_a_keras_2_file_is_answered_with_the_command_that_takes_it(folder: str, real: Path) -> None:
    with pytest.raises(InputFileError, match=r"final_model\.keras: is a file of Keras 2, .* 'cr_trainer import'"):
        read_own_network(real / "networks" / folder / "keras" / "final_model.keras")


def test_a_file_whose_guarded_process_crashes_is_refused(good: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hdf5_reader, "_run_reader", lambda content: (b"", -6))
    said = r"model\.weights\.h5: the HDF5 data is damaged: the library that reads it ended with -6"
    with pytest.raises(InputFileError, match=said):
        read_own_network(good)
