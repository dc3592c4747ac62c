"""ONNX files, and their scores by onnxruntime."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest

from cal_ratio_trainer.formats.layers import NonFiniteWeights
from cal_ratio_trainer.formats.onnx_file import onnx_bytes
from cal_ratio_trainer.formats.onnx_graph import BadOpset
from cal_ratio_trainer.network.shape import DEFAULT_SHAPE
from tests.formats.numpy_network import random_inputs, random_weights, scores
from tests.formats.onnx_scores import run, session_of
from tests.formats.shapes import ANY_LENGTH, SHAPES

FILLED = (0, 1, 5, 30)
PROPERTIES = {"network": "study/00003/12", "notes": "[]"}


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("opset", [11, 13, 17, 21])
def test_onnxruntime_gives_what_the_numpy_network_does_for_jets_of_no_one_some_and_all_slots(
    name: str, opset: int
) -> None:
    if opset > onnx.defs.onnx_opset_version():
        pytest.skip(f"the installed onnx does not know opset {opset}")
    shape, weights = SHAPES[name], random_weights(SHAPES[name], seed=1)
    constituents, jets = random_inputs(shape, FILLED, seed=2)
    found = run(onnx_bytes(shape, weights, {}, opset), [*constituents, jets])
    np.testing.assert_allclose(found, scores(shape, weights, constituents, jets), rtol=0, atol=1e-5)


@pytest.mark.parametrize("batch", [1, 7, 1000])
def test_any_number_of_jets_goes_in(batch: int) -> None:
    weights = random_weights(DEFAULT_SHAPE, seed=1)
    constituents, jets = random_inputs(DEFAULT_SHAPE, [i % 31 for i in range(batch)], seed=batch)
    found = run(onnx_bytes(DEFAULT_SHAPE, weights, {}), [*constituents, jets])
    np.testing.assert_allclose(found, scores(DEFAULT_SHAPE, weights, constituents, jets), rtol=0, atol=1e-5)


@pytest.mark.parametrize("opset", [11, 21])
@pytest.mark.parametrize("name", ANY_LENGTH)
def test_encoders_of_any_length_are_fed_with_all_slots_or_those_that_are_filled(name: str, opset: int) -> None:
    if opset > onnx.defs.onnx_opset_version():
        pytest.skip(f"the installed onnx does not know opset {opset}")
    shape, weights = ANY_LENGTH[name], random_weights(ANY_LENGTH[name], seed=1)
    constituents, jets = random_inputs(shape, FILLED, seed=2)
    expected = scores(shape, weights, constituents, jets)
    session = session_of(onnx_bytes(shape, weights, {}, opset))
    np.testing.assert_allclose(session([*constituents, jets]), expected, rtol=0, atol=1e-5)
    for jet, count in enumerate(FILLED):
        alone = [*(each[jet : jet + 1, :count] for each in constituents), jets[jet : jet + 1]]
        np.testing.assert_allclose(session(alone), expected[jet : jet + 1], rtol=0, atol=1e-5)


def test_a_slot_that_holds_the_padding_row_is_empty_for_encoders_of_any_length() -> None:
    shape = ANY_LENGTH["deep_sets"]
    weights = random_weights(shape, seed=1)
    constituents, jets = random_inputs(shape, FILLED, seed=2)
    expected = scores(shape, weights, constituents, jets)
    padding = {branch.name: np.linspace(-1, 2, branch.inputs, dtype=np.float32) for branch in shape.branches}
    for branch, padded in zip(shape.branches, constituents, strict=True):
        padded[~padded.any(axis=2)] = padding[branch.name]
    content = onnx_bytes(shape, weights, {}, padding={name: row.tolist() for name, row in padding.items()})
    np.testing.assert_allclose(run(content, [*constituents, jets]), expected, rtol=0, atol=1e-5)


def test_the_number_of_slots_is_free_for_encoders_of_any_length() -> None:
    shape = ANY_LENGTH["deep_sets"]
    inputs = shapes_of(list(model_of(onnx_bytes(shape, random_weights(shape, seed=1), {})).graph.input))
    assert inputs["constit_input_cr"] == ["jets", "clusters", 12]
    assert inputs["MSeg_input_cr"] == ["jets", "muon_segments", 6]


def model_of(content: bytes) -> onnx.ModelProto:
    """The file as onnx sees it."""
    return onnx.load_model_from_string(content)


def shapes_of(values: list[onnx.ValueInfoProto]) -> dict[str, list[str | int]]:
    """Shapes by name; a free dimension is a string."""
    return {each.name: [dim.dim_param or dim.dim_value for dim in each.type.tensor_type.shape.dim] for each in values}


def test_inputs_and_output_are_called_as_in_the_keras_file_and_the_number_of_jets_is_free() -> None:
    graph = model_of(onnx_bytes(DEFAULT_SHAPE, random_weights(DEFAULT_SHAPE, seed=1), {})).graph
    assert shapes_of(list(graph.input)) == {
        "constit_input_cr": ["jets", 30, 12],
        "track_input_cr": ["jets", 20, 10],
        "MSeg_input_cr": ["jets", 30, 6],
        "jet_input_cr": ["jets", 3],
    }
    assert list(shapes_of(list(graph.input))) == ["constit_input_cr", "track_input_cr", "MSeg_input_cr", "jet_input_cr"]
    assert shapes_of(list(graph.output)) == {"main_output": ["jets", 3]}


def test_by_default_runtimes_of_2019_read_it() -> None:
    model = model_of(onnx_bytes(DEFAULT_SHAPE, random_weights(DEFAULT_SHAPE, seed=1), {}))
    assert [operators.version for operators in model.opset_import] == [11]
    assert model.ir_version == 6


def test_properties_stand_in_the_metadata() -> None:
    model = model_of(onnx_bytes(DEFAULT_SHAPE, random_weights(DEFAULT_SHAPE, seed=1), PROPERTIES))
    assert {each.key: each.value for each in model.metadata_props} == PROPERTIES


@pytest.mark.parametrize("opset", [10, 999])
def test_an_opset_that_cannot_be_written_is_refused_with_those_that_can(opset: int) -> None:
    with pytest.raises(BadOpset, match=rf"opset is {opset}, expected 11 to \d\d "):
        onnx_bytes(DEFAULT_SHAPE, random_weights(DEFAULT_SHAPE, seed=1), {}, opset)


def test_weights_of_a_diverged_training_are_refused() -> None:
    weights = random_weights(DEFAULT_SHAPE, seed=1)
    weights["output.bias"][0] = np.nan
    with pytest.raises(NonFiniteWeights, match=r"output\.bias holds 1 values"):
        onnx_bytes(DEFAULT_SHAPE, weights, {})


def test_another_process_in_another_folder_gives_the_same_bytes(tmp_path: Path) -> None:
    code = (
        "import hashlib\n"
        "from cal_ratio_trainer.formats.onnx_file import onnx_bytes\n"
        "from cal_ratio_trainer.network.shape import DEFAULT_SHAPE\n"
        "import numpy as np\n"
        "weights = {name: np.full(shape, 0.1) for name, shape in DEFAULT_SHAPE.weight_shapes().items()}\n"
        f"print(hashlib.sha256(onnx_bytes(DEFAULT_SHAPE, weights, {PROPERTIES!r})).hexdigest())\n"
    )
    found = []
    for seed, folder in (("1", tmp_path), ("2", Path.cwd())):
        done = subprocess.run(
            [sys.executable, "-c", code],
            cwd=folder,
            env={"PYTHONHASHSEED": seed, "PATH": ""},
            capture_output=True,
            text=True,
            check=True,
        )
        found.append(done.stdout)
    assert found[0] == found[1] != ""
