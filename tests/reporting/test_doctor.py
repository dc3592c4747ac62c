"""The state of an installation."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from cal_ratio_trainer.config.runs import DoctorSettings
from cal_ratio_trainer.reporting import doctor
from cal_ratio_trainer.reporting.doctor import Examination, examine

SUBJECTS = ["versions", "extras", "machine", "devices", "engines", "BLAS", "folders", "environment"]


def examined(folder: Path, **settings: Any) -> Examination:
    """Examination on the CPU with separate folders."""
    given = {"device": "cpu", "output_path": folder / "runs", "cache_path": folder / "cache"} | settings
    return examine(DoctorSettings.make(**given))


def failed(found: Examination) -> dict[str, str]:
    """Findings of the checks that failed."""
    return {check.name: check.found for check in found.checks if not check.passed}


def test_a_good_installation_is_well_and_left_as_it_was(tmp_path: Path) -> None:
    found = examined(tmp_path)
    assert failed(found) == {}
    assert found.is_well
    assert list(found.facts) == SUBJECTS
    assert list(tmp_path.iterdir()) == []
    assert found.facts["versions"]["torch"] == str(torch.__version__)
    assert found.facts["engines"]["chosen"] == "numba"
    assert "all is well" in found.as_text()
    assert json.loads(found.as_json())["is_well"] is True


def test_only_chosen_variables_of_the_environment_are_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRID_PASSWORD", "hunter2")
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    found = examined(tmp_path)
    assert "hunter2" not in found.as_text() + found.as_json()
    assert found.facts["environment"]["OMP_NUM_THREADS"] == "3"


def test_a_folder_that_cannot_be_written_is_a_failed_check(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    found = examined(tmp_path, output_path=tmp_path / "file" / "runs")
    assert list(failed(found)) == ["output folder can be written"]
    assert not found.is_well
    assert "1 of 7 checks failed" in found.as_text()


def test_an_engine_that_computes_something_else_is_a_failed_check(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = doctor._loss_and_gradients

    def wrong(engine: str, device: torch.device) -> tuple[float, dict[str, torch.Tensor]]:
        loss, gradients = right(engine, device)
        return loss, {name: gradient * (1.01 if engine == "numba" else 1.0) for name, gradient in gradients.items()}

    monkeypatch.setattr(doctor, "_loss_and_gradients", wrong)
    assert "differ from PyTorch's by 1.0e-02" in failed(examined(tmp_path))["training step"]


def test_what_cannot_be_found_out_is_a_failed_check_and_the_rest_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*arguments: object) -> None:
        raise ImportError("libarrow.so: cannot open shared object file")

    monkeypatch.setattr("cal_ratio_trainer.jets.loading.read_jets", broken)
    monkeypatch.setattr(doctor, "_blas", broken)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    found = examined(tmp_path, device="cuda")
    assert failed(found).keys() == {"BLAS", "engines", "training step", "Parquet file of jets"}
    assert failed(found)["BLAS"] == "ImportError: libarrow.so: cannot open shared object file"
    assert "PyTorch sees no GPU" in failed(found)["training step"]


def test_versions_are_listed_although_pytorch_cannot_be_loaded(tmp_path: Path) -> None:
    (tmp_path / "torch.py").write_text("raise ImportError('libcudart.so: cannot open shared object file')")
    program = (
        "import sys; from cal_ratio_trainer.__main__ import main; sys.argv = ['cr_trainer', 'doctor', '--json']; main()"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    found = json.loads(done.stdout)
    assert found["versions"]["torch"] is not None
    checks = {check["name"]: check["passed"] for check in found["checks"]}
    assert not checks["training step"]
    assert checks["required packages"]
    assert "versions" not in checks


def test_a_package_that_is_not_there_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_requirements", lambda: [("numpy", None), ("no-such-package", None), ("other", "x")])
    assert failed(examined(tmp_path)) == {"required packages": "missing: no-such-package"}
