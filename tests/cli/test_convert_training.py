"""`cr_trainer convert training` on the command line."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from cal_ratio_trainer.cli.runs import export
from cal_ratio_trainer.config.runs import ConvertTrainingSettings
from cal_ratio_trainer.formats.keras_file import write_keras
from cal_ratio_trainer.formats.registry import ALL, formats
from cal_ratio_trainer.formats.self_check import ExportFailed
from cal_ratio_trainer.network.shape import DEFAULT_SHAPE
from tests.formats.numpy_network import random_weights

command = export.build()


def test_the_help_names_the_formats() -> None:
    names = ConvertTrainingSettings.model_fields["format"].examples or []
    assert names == [*formats(), ALL]
    assert f"--format {'|'.join(names)}" in CliRunner().invoke(command, ["--help"], terminal_width=110).output


@pytest.fixture
def network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a .keras file in the folder where the command runs."""
    monkeypatch.chdir(tmp_path)
    write_keras(tmp_path / "network.keras", DEFAULT_SHAPE, random_weights(DEFAULT_SHAPE, seed=1))
    return "network.keras"


def test_by_default_model_json_is_written_and_told_with_its_card_and_what_is_assumed(network: str) -> None:
    done = CliRunner().invoke(command, [network])
    assert done.exit_code == 0
    assert "network.keras -> model.json (fdeep, " in done.stdout
    assert "its scores of 512 jets are within" in done.stdout
    assert "model.card.md" in done.stdout
    assert "0 to 500 GeV is assumed" in done.stderr
    assert {path.name for path in Path().iterdir()} == {network, "model.json", "model.card.json", "model.card.md"}


def test_dashes_and_underscores_and_all_formats(network: str) -> None:
    words = [network, "--output-json", "out/net.json", "--format", "all", "--with-preprocessing", "--opset", "13"]
    done = CliRunner().invoke(command, words)
    assert done.exit_code == 0
    assert {path.name for path in Path("out").iterdir()} == {
        "net.json",
        "net_keras3.json",
        "net.keras",
        "net.onnx",
        "net.card.json",
        "net.card.md",
    }


def test_files_that_an_earlier_card_of_this_name_described_are_told(network: str) -> None:
    assert CliRunner().invoke(command, [network]).stderr.count("was the card of") == 0
    done = CliRunner().invoke(command, [network, "--format", "keras", "--output_json", "model.keras"])
    assert "model.card.json was the card of model.json too; it describes this export only" in done.stderr
    Path("model.card.json").write_text('{"files": [{"file": "../model.json"}, 3]}')
    done = CliRunner().invoke(command, [network])
    assert done.exit_code == 0
    assert "was the card of" not in done.stderr


def test_a_failed_check_is_a_user_s_error_and_leaves_nothing(network: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cal_ratio_trainer.formats.onnx_file._KERAS_GATE_OF", (0, 1, 2, 3))
    done = CliRunner().invoke(command, [network, "--format", "all"])
    assert isinstance(done.exception, ExportFailed)
    assert str(done.exception).startswith("model.onnx was written but failed its check, so nothing was kept: ")
    assert {path.name for path in Path().iterdir()} == {network}
