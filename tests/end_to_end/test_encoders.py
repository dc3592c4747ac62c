"""Encoders beside the LSTM, one of them from outside the package: trained, continued, scored, exported."""

from pathlib import Path

import numpy as np
import pytest

from cal_ratio_trainer.config.runs import ConvertTrainingSettings
from cal_ratio_trainer.config.scoring import ReadingSettings
from cal_ratio_trainer.config.training import TrainSettings
from cal_ratio_trainer.formats.network_file import read_own_network
from cal_ratio_trainer.formats.registry import CannotHold
from cal_ratio_trainer.reporting.model_dump import layer_rows
from cal_ratio_trainer.runs.finding import find_network
from cal_ratio_trainer.runs.network_export import export_training
from cal_ratio_trainer.runs.run import Run
from cal_ratio_trainer.scoring.scorer import find_scorer
from cal_ratio_trainer.training.continuation import find_start
from cal_ratio_trainer.training.start import Start
from cal_ratio_trainer.training.train import train
from tests.factories.files import write_training_files
from tests.network.sum_pooling import SumPooling


def trained(folder: Path, files: tuple[Path, Path], encoder: str, epochs: int, continued: str | None = None) -> Run:
    settings = TrainSettings.make(
        main_training_file=str(files[0]),
        cr_training_file=str(files[1]),
        output_path=folder,
        encoder=encoder,
        encoder_options=["width=8", "layers=1"] if encoder == "transformer" else [],
        epochs=epochs,
        num_splits=2,
        sample_fraction=1.0,
        threads=1,
        epoch_plots=False,
    )
    start = Start(settings)
    if continued is not None:
        given = {"epochs": epochs, "output_path": str(folder), "model_name": "default"}
        start = find_start([("defaults", {}), ("command line", given)], settings, continued)
    return Run(train(start, say=lambda text: None, details=lambda figures: "").run.path)


@pytest.fixture(scope="module", params=[SumPooling.name, "deep_sets", "transformer"])
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run of two epochs in two parts."""
    name: str = request.param
    folder = tmp_path_factory.mktemp("runs")
    files = write_training_files(folder, 300, 200)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("cal_ratio_trainer.training.run_plots.DrawingPool.submit", lambda *given, **more: None)
        whole = trained(folder / "whole", files, name, 2)
        trained(folder / "parts", files, name, 1)
        parts = trained(folder / "parts", files, name, 1, "0")
    of_whole, of_parts = (read_own_network(each.path / "keras" / "final_model.safetensors") for each in (whole, parts))
    for name, values in of_whole.weights.items():
        np.testing.assert_array_equal(of_parts.weights[name], values)
    return parts


def test_its_networks_are_kept_by_name_in_the_program_s_own_files_alone(run: Run) -> None:
    name = run.read_settings()["encoder"]
    assert not list(run.path.glob("keras/*.keras"))
    network = find_network(f"default/{run.number}/1", run.path.parents[1])
    assert network.file.name == "final_model.safetensors"
    assert (network.load().shape.encoder, network.epoch) == (name, 1)
    assert f"clusters_{name}" in [row.name for row in layer_rows(network.file)]


def test_it_scores_and_is_exported_to_onnx_and_refused_by_others_in_a_sentence(run: Run, tmp_path: Path) -> None:
    runs, name = run.path.parents[1], run.read_settings()["encoder"]
    assert find_scorer("default/0", ReadingSettings.make(output_path=runs)) is not None
    asked = {"training": "default/0", "output_path": runs, "output_json": tmp_path / "network.json"}
    done = export_training(ConvertTrainingSettings.make(**asked, format="onnx")).exported
    assert done.files[0].largest_difference < 1e-5
    assert f'"encoder": "{name}"' in done.cards[0].read_text()
    card = done.cards[1].read_text()
    assert f"Encoder: `{name}`." in card
    assert ("may be left out" in card) == (name != SumPooling.name)
    done = export_training(ConvertTrainingSettings.make(**asked, format="safetensors")).exported
    assert read_own_network(done.paths[0]).shape.encoder == name
    done = export_training(ConvertTrainingSettings.make(**asked, format="all")).exported
    able = ["onnx"] if name == SumPooling.name else ["keras", "onnx"]
    assert [file.format for file in done.files] == able
    said = f"a file of format fdeep cannot hold a network with the encoder {name}; {', '.join(able)}, safetensors can"
    with pytest.raises(CannotHold, match=said):
        export_training(ConvertTrainingSettings.make(**asked, format="fdeep"))
