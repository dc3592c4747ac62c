"""Fixtures of all tests, and the order of their files."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cal_ratio_trainer.workers.executor import available_cores
from tests.factories.hdf5_reader import ForkingReader

# Read when the first library with OpenMP is imported. Waiting threads that spin slow down a machine that is used by
# other programs by a large factor.
os.environ.setdefault("GOMP_SPINCOUNT", "10000")
# Read then, too. The tests compute on few jets: a second thread takes more time of the processor than it saves, and
# each worker of pytest-xdist would have its own. `.ci/run processors` computes with two.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# Each worker of pytest-xdist and each command that a test starts would compile all modules again.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

_REAL = Path(__file__).resolve().parents[2] / "shared" / "real"


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """One more than there are cores: for a third of their time tests wait for the processes that they start."""
    return available_cores() + 1


def pytest_configure(config: pytest.Config) -> None:
    """Keeps the order of the files, where pytest-xdist would begin with those of most tests."""
    config.option.loadscopereorder = False


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Puts files with slow tests first: one that begins last would keep one worker busy and the others waiting."""
    slow = {item.path for item in items if any(item.iter_markers("slow")) or any(item.iter_markers("faults"))}
    items.sort(key=lambda item: item.path not in slow)


@pytest.fixture(scope="session")
def real() -> Path:
    """The folder of real ATLAS jets beside the checkout; without it a test is skipped, in CI it fails.

    REAL_JETS=absent says that it is meant to be missing.
    """
    if not _REAL.is_dir():
        said = f"the real jets are missing: {_REAL} is no folder"
        needed = os.environ.get("CI") and os.environ.get("REAL_JETS") != "absent"
        pytest.fail(said) if needed else pytest.skip(said)
    return _REAL


@pytest.fixture
def without_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Switches off drawing, which takes most of the time of so small a training."""
    monkeypatch.setattr("cal_ratio_trainer.training.run_plots.DrawingPool.submit", lambda *given, **more: None)


@pytest.fixture(scope="session", autouse=True)
def forked_hdf5_reader() -> Iterator[None]:
    """Reads HDF5 data in processes that are forked, in place of one that is started anew for each file."""
    with pytest.MonkeyPatch.context() as patch, ForkingReader() as reader:
        patch.setattr("cal_ratio_trainer.formats.hdf5_reader._run_reader", reader)
        yield
