"""Table of a network, and names of networks."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from cal_ratio_trainer.cli.runs import describe_network
from cal_ratio_trainer.errors import InputFileError
from cal_ratio_trainer.formats.keras_file import write_keras
from cal_ratio_trainer.network.classifier import Classifier
from cal_ratio_trainer.network.shape import DEFAULT_SHAPE
from cal_ratio_trainer.reporting.model_dump import layer_rows
from cal_ratio_trainer.runs.finding import network_file
from cal_ratio_trainer.runs.run import Run
from cal_ratio_trainer.runs.stored import RunError


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """A run with the weights of epochs 3 and 12 and of the newest one."""
    directory = Run.make(tmp_path, "model")
    weights = Classifier(DEFAULT_SHAPE).weights()
    for file in (directory.path / "keras" / "final_model.keras", *map(directory.weights_file, (3, 12))):
        write_keras(file, DEFAULT_SHAPE, weights)
    return directory


def test_all_parameters_of_the_2019_network_are_in_the_table(run: Run) -> None:
    rows = layer_rows(run.weights_file(3))
    assert len(rows) == 35
    assert sum(row.parameters for row in rows) == 60067
    lstm = next(row for row in rows if row.kind == "LSTM")
    # 16 inputs and 10 units: kernel, recurrent kernel and bias of four gates.
    assert (lstm.weights, lstm.parameters) == (((16, 40), (10, 40), (40,)), 16 * 40 + 10 * 40 + 40)


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("model/0", "final_model.keras"),
        ("model/-1", "final_model.keras"),
        ("model/00000/last", "final_model.keras"),
        ("model/0/12", "final_model_weights_12.keras"),
    ],
)
def test_a_network_is_named_by_model_run_and_epoch(run: Run, name: str, file: str) -> None:
    assert network_file(name, run.path.parent.parent) == run.path / "keras" / file


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("model/0/7", "no weights of epoch 7; kept are 3, 12"),
        ("model/5", "no run 5"),
        ("model", "give NAME/RUN"),
        ("model/x", "give NAME/RUN"),
        ("model/0/bset", "bset is no epoch"),
        ("nodel/0", r"no model nodel \(did you mean model\?\) under .*; models there: model"),
    ],
)
def test_a_name_that_leads_nowhere_is_told_with_what_is_there(run: Run, name: str, words: str) -> None:
    with pytest.raises(RunError, match=words):
        network_file(name, run.path.parent.parent)


def test_the_command_prints_layers_and_total(run: Run) -> None:
    result = CliRunner().invoke(describe_network.build(), ["model/0", "--output_path", str(run.path.parent.parent)])
    assert result.exit_code == 0
    assert "60,067" in result.output.replace("\n", "")
    assert "main_output" in result.output


def test_a_file_that_is_no_network_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "x.keras"
    file.write_text("nothing")
    with pytest.raises(InputFileError, match=r"x\.keras"):
        layer_rows(network_file(str(file), tmp_path))


def test_in_a_pipe_no_name_of_a_layer_is_broken(run: Run) -> None:
    shown = CliRunner().invoke(describe_network.build(), [str(run.weights_file(3))]).output
    for row in layer_rows(run.weights_file(3)):
        assert f" {row.name} " in shown
