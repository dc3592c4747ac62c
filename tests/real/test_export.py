"""Exports of the earlier program's trained network, compared with files of frugally-deep's converter."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cal_ratio_trainer.config.runs import ConvertTrainingSettings, ImportSettings
from cal_ratio_trainer.formats.fdeep_file import Flavour, chosen_load_tests
from cal_ratio_trainer.formats.fdeep_reading import read_fdeep
from cal_ratio_trainer.formats.graph import Graph, evaluate, graph_of
from cal_ratio_trainer.formats.keras_file import write_keras
from cal_ratio_trainer.formats.onnx_file import onnx_bytes
from cal_ratio_trainer.formats.onnx_graph import Preprocessing
from cal_ratio_trainer.formats.probe_jets import padded_inputs, probes_of
from cal_ratio_trainer.jets.cleaning import clean_for_training
from cal_ratio_trainer.jets.loading import read_jets
from cal_ratio_trainer.jets.metadata import Scaling
from cal_ratio_trainer.network.shape import DEFAULT_SHAPE
from cal_ratio_trainer.runs.import_run import import_training
from cal_ratio_trainer.runs.network_export import export_training
from tests.formats.damage import all_damages
from tests.formats.onnx_scores import run
from tests.real.legacy_weights import legacy_weights

pytestmark = pytest.mark.real

REFERENCES = {Flavour.KERAS_2: "fdeep_0.15.json", Flavour.KERAS_3: "fdeep_0.20_minimal.json"}
FILES = {Flavour.KERAS_2: "trained.json", Flavour.KERAS_3: "trained_keras3.json"}

NOT_WRITTEN = {
    "keras_version",
    "backend",
    "build_config",
    "kernel_initializer",
    "recurrent_initializer",
    "bias_initializer",
    "kernel_regularizer",
    "recurrent_regularizer",
    "bias_regularizer",
    "activity_regularizer",
    "kernel_constraint",
    "recurrent_constraint",
    "bias_constraint",
    "noise_shape",
    "seed",
    "time_major",
    "implementation",
}
"""Keys that the converter writes and the library does not read: initialisers, penalties, origin of the file."""


@pytest.fixture(scope="module")
def weights(real: Path) -> dict[str, np.ndarray]:
    """The weights of the trained network."""
    return legacy_weights(real / "networks" / "trained" / "keras" / "final_model_weights_80.weights.h5", DEFAULT_SHAPE)


@pytest.fixture(scope="module")
def exported(weights: dict[str, np.ndarray], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with all formats of it."""
    folder = tmp_path_factory.mktemp("exported")
    write_keras(folder / "network.keras", DEFAULT_SHAPE, weights)
    training, output = str(folder / "network.keras"), folder / "trained.json"
    export_training(ConvertTrainingSettings.make(training=training, output_json=output, format="all"))
    return folder


def reference(real: Path, flavour: Flavour) -> dict[str, Any]:
    """File of the library's converter for the same network."""
    said: dict[str, Any] = json.loads((real / "reference" / "deploy" / REFERENCES[flavour]).read_text())
    return said


def ours(exported: Path, flavour: Flavour) -> dict[str, Any]:
    """Our file for the same network."""
    said: dict[str, Any] = json.loads((exported / FILES[flavour]).read_text())
    return said


def test_the_imported_run_gives_the_same_bytes_in_every_format(real: Path, exported: Path, tmp_path: Path) -> None:
    import_training(
        ImportSettings.make(path=real / "networks" / "trained", model_name="earlier", output_path=tmp_path / "runs")
    )
    settings = {
        "training": "earlier/0/last",
        "output_path": tmp_path / "runs",
        "output_json": tmp_path / "trained.json",
    }
    export_training(ConvertTrainingSettings.make(**settings, format="all"))
    for name in (*FILES.values(), "trained.keras"):
        assert (tmp_path / name).read_bytes() == (exported / name).read_bytes(), name
    read_back = ImportSettings.make(path=tmp_path / "trained.json", model_name="again", output_path=tmp_path / "runs")
    import_training(read_back)
    again = tmp_path / "runs" / "again" / "00000" / "keras" / "final_model.keras"
    # The file in a run differs by the comment with the id of the run.
    assert again.read_bytes().startswith((exported / "trained.keras").read_bytes()[:-2])


@pytest.mark.parametrize("flavour", Flavour)
def test_weights_and_hash_are_those_of_the_library_s_own_converter(
    flavour: Flavour, real: Path, exported: Path
) -> None:
    found, expected = ours(exported, flavour), reference(real, flavour)
    assert list(found) == list(expected)
    assert found["trainable_params"] == expected["trainable_params"]
    assert list(found["trainable_params"]) == list(expected["trainable_params"])
    for name in ("hash", "input_shapes", "output_shapes", "image_data_format"):
        assert found[name] == expected[name]


def differences(found: Any, expected: Any, place: str = "") -> set[str]:
    """Keys that only one of two has ('-key' where it is missing in `found`), and places where their values differ."""
    if isinstance(found, dict) and isinstance(expected, dict):
        missing = {f"-{key}" for key in expected.keys() - found.keys()}
        added = {f"+{key}" for key in found.keys() - expected.keys()}
        both = found.keys() & expected.keys()
        return missing.union(added, *(differences(found[key], expected[key], f"{place}/{key}") for key in both))
    if isinstance(found, list) and isinstance(expected, list) and len(found) == len(expected):
        return set[str]().union(
            *(differences(a, b, f"{place}/{i}") for i, (a, b) in enumerate(zip(found, expected, strict=True)))
        )
    return set() if found == expected else {f"{place}: {found!r} {expected!r}"}


def test_the_architecture_is_the_converter_s_but_for_what_the_library_does_not_read(real: Path, exported: Path) -> None:
    found, expected = (
        said["architecture"] for said in (ours(exported, Flavour.KERAS_2), reference(real, Flavour.KERAS_2))
    )
    # Keras 2 repeats the input's shape in the first convolution of each branch; the library reads the input layer.
    for layer in expected["config"]["layers"]:
        if layer["class_name"] == "Conv1D":
            layer["config"].pop("batch_input_shape", None)
    assert differences(found, expected) == {f"-{key}" for key in NOT_WRITTEN}


def test_all_that_the_later_library_reads_stands_in_the_keras_3_flavour(real: Path, exported: Path) -> None:
    found, expected = (
        said["architecture"] for said in (ours(exported, Flavour.KERAS_3), reference(real, Flavour.KERAS_3))
    )
    told = differences(found, expected)
    assert {each for each in told if not each.startswith("+")} == {"/config/name: 'model' 'final_model'"}


def test_the_page_lists_the_keys_that_are_not_written() -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "convert_training.md").read_text("utf-8")
    assert {key for key in NOT_WRITTEN if f"`{key}`" not in page} == set()


def jets50(real: Path) -> tuple[list[np.ndarray], np.ndarray]:
    """Fifty real jets with Keras' scores."""
    folder = real / "reference" / "deploy"
    rows = np.loadtxt(folder / "jets50.txt", dtype=np.float32)
    clusters, tracks, segments, jets = np.split(rows, np.cumsum([360, 200, 180]), axis=1)
    inputs = [clusters.reshape(-1, 30, 12), tracks.reshape(-1, 20, 10), segments.reshape(-1, 30, 6), jets]
    return inputs, np.loadtxt(folder / "jets50_keras_scores.txt")


def every_graph(real: Path, exported: Path) -> dict[str, Graph]:
    """Our files and the converter's, as graphs."""
    paths = {path.name: path for path in (real / "reference" / "deploy").glob("fdeep_*.json")}
    paths |= {name: exported / name for name in FILES.values()}
    return {name: read_fdeep(path.read_bytes()).graph for name, path in paths.items()}


def test_the_evaluator_gives_keras_scores_of_fifty_real_jets_for_our_files_and_the_converter_s(
    real: Path, exported: Path
) -> None:
    inputs, expected = jets50(real)
    graphs = every_graph(real, exported)
    assert len(graphs) == 4
    for name, graph in graphs.items():
        np.testing.assert_allclose(evaluate(graph, inputs), expected, rtol=0, atol=1e-5, err_msg=name)


def test_the_onnx_file_gives_keras_scores_of_fifty_real_jets(real: Path, exported: Path) -> None:
    inputs, expected = jets50(real)
    np.testing.assert_allclose(run((exported / "trained.onnx").read_bytes(), inputs), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", ["conv_sig_311314__as_sig", "conv_sig_311314__as_qcd"])
def test_the_onnx_file_that_scales_jets_itself_gives_the_reference_scores_of_converted_jets(
    name: str, real: Path, weights: dict[str, np.ndarray]
) -> None:
    import pyarrow.parquet as pq

    content = onnx_bytes(DEFAULT_SHAPE, weights, {}, preprocessing=Preprocessing(Scaling(min_jet_pt=0, max_jet_pt=500)))
    jets = read_jets(real / "reference" / "convert" / f"{name.removeprefix('conv_')}.parquet")
    reference = pq.read_table(real / "reference" / "scores" / f"{name}.parquet")
    found = run(content, padded_inputs(jets, DEFAULT_SHAPE).arrays)
    expected = np.stack([reference[f"jet_nn_{output}"].to_numpy() for output in ("qcd", "sig", "bib")], axis=1)
    order, wanted = np.argsort(jets["jet_pt"]), np.argsort(reference["jet_pt"].to_numpy())
    np.testing.assert_allclose(found[order], expected[wanted], rtol=0, atol=1e-5)


@pytest.mark.parametrize("file", ["frames/bib.pkl", "reference/build/conv_sig_311314__as_qcd.parquet"])
def test_load_tests_made_of_real_jets_see_everything_that_can_be_wrong(
    file: str, real: Path, weights: dict[str, np.ndarray], exported: Path
) -> None:
    jets, _ = clean_for_training(read_jets(real / file))
    probes, fillings = probes_of(jets, 64)
    inputs = padded_inputs(probes, DEFAULT_SHAPE)
    tests = chosen_load_tests(inputs, fillings, evaluate(graph_of(DEFAULT_SHAPE, weights), inputs.arrays))
    assert tests.scores.max() < 0.9
    content = ours(exported, Flavour.KERAS_2)
    moved = {}
    for what, damaged in all_damages(content):
        graph = read_fdeep(json.dumps(damaged(content)).encode()).graph
        moved[what] = float(np.abs(evaluate(graph, tests.inputs.arrays) - tests.scores).max())
    assert {what: by for what, by in moved.items() if by < 0.005} == {}, "the library allows 0.0001"
