"""Fixtures of all tests."""

import os
from pathlib import Path

import pytest

# Read when the first library with OpenMP is imported. Waiting threads that spin slow down a machine that is used by
# other programs by a large factor.
os.environ.setdefault("GOMP_SPINCOUNT", "10000")

_REAL = Path(__file__).resolve().parents[2] / "shared" / "real"


@pytest.fixture(scope="session")
def real() -> Path:
    """The folder of real ATLAS jets beside the checkout; without it a test is skipped, in CI it fails."""
    if not _REAL.is_dir():
        said = f"the real jets are missing: {_REAL} is no folder"
        pytest.fail(said) if os.environ.get("CI") else pytest.skip(said)
    return _REAL


@pytest.fixture
def without_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Switches off drawing, which takes most of the time of so small a training."""
    monkeypatch.setattr("cal_ratio_trainer.training.run_plots.DrawingPool.submit", lambda *given, **more: None)
