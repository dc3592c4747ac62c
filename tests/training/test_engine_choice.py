"""Engine of a training: chosen, recorded, and changed on continuation."""

import logging
from pathlib import Path

import pytest
import torch

from cal_ratio_trainer.config.training import TrainSettings
from cal_ratio_trainer.errors import ConfigError
from cal_ratio_trainer.network import engine as engines
from cal_ratio_trainer.network.engine import EngineUnusable
from cal_ratio_trainer.training import setup
from cal_ratio_trainer.training import train as training
from cal_ratio_trainer.training.continuation import find_start
from cal_ratio_trainer.training.start import Start
from tests.factories.files import write_training_files


def settings_in(folder: Path, **changes: object) -> TrainSettings:
    main, control = write_training_files(folder, 300, 200)
    return TrainSettings.make(
        main_training_file=str(main),
        cr_training_file=str(control),
        output_path=folder / "runs",
        epochs=1,
        num_splits=2,
        sample_fraction=1.0,
        train_fraction=0.7,
        threads=1,
        **changes,
    )


def test_steps_of_encoders_on_pytorch_are_not_recorded_and_a_run_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings_in(tmp_path, encoder="deep_sets")
    assert not list(setup.notices(settings))
    monkeypatch.setattr(setup, "chosen_device", lambda device: torch.device("cuda"))
    monkeypatch.setattr(setup, "unserved_card", lambda: None)
    (said,) = setup.notices(settings)
    assert said == "encoder deep_sets runs on PyTorch's operations: steps are not recorded as CUDA graphs"


def test_an_encoder_on_pytorch_refuses_another_engine_before_data_are_read(tmp_path: Path) -> None:
    settings = settings_in(tmp_path, encoder="transformer", engine="numba")
    Path(settings.main_training_file).unlink()
    with pytest.raises(
        ConfigError, match="engine is numba, but encoder transformer runs on PyTorch's operations alone"
    ):
        setup.set_up(Start(settings), lambda text: None)


def run(start: Start, said: list[str] | None = None) -> dict[str, object]:
    told = [] if said is None else said
    return training.train(start, say=told.append, details=lambda figures: "").record


@pytest.mark.usefixtures("without_figures")
def test_a_run_says_what_computed_it_and_may_go_on_with_another_engine(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings = settings_in(tmp_path, engine="torch")
    record = run(Start(settings))
    assert record["computed_by"] == {
        "device": "cpu",
        "engine": "torch",
        "matmul_precision": "ieee",
        "cuda_graph": False,
        "processes": 1,
        "nodes": 1,
    }
    layers = [("defaults", TrainSettings.defaults()), ("command line", {"engine": "numba"})]
    with caplog.at_level(logging.WARNING):
        start = find_start(layers, settings, "0")
    assert "engine was torch so far; from here on figures differ by rounding" in caplog.text
    record = run(start)
    assert record["computed_by"] == {
        "device": "cpu",
        "engine": "numba",
        "matmul_precision": "ieee",
        "cuda_graph": False,
        "processes": 1,
        "nodes": 1,
    }
    assert record["finished_epochs"] == 2


def test_an_engine_that_does_not_work_here_is_refused_before_there_is_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    monkeypatch.setattr(engines, "_has", lambda module: True)
    with pytest.raises(EngineUnusable, match="computes on a GPU, and the network is on the CPU"):
        run(Start(settings_in(tmp_path, engine="triton")))
    assert not (tmp_path / "runs").exists()


@pytest.mark.usefixtures("without_figures")
def test_a_card_without_code_in_pytorch_is_told_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(setup, "unserved_card", lambda: "PyTorch has no code for a card: install another")
    said: list[str] = []
    run(Start(settings_in(tmp_path)), said)
    assert "training runs on the CPU: PyTorch has no code for a card: install another" in said


def test_what_has_no_effect_on_a_cpu_is_said(tmp_path: Path) -> None:
    settings = settings_in(tmp_path).model_copy(update={"device": "cpu"})
    assert list(setup.notices(settings)) == []
    asked = settings.model_copy(update={"matmul_precision": "tf32", "data_place": "host"})
    precision, place = setup.notices(asked)
    assert precision.startswith("matmul_precision tf32 has no effect")
    assert place.startswith("data_place host has no effect")
