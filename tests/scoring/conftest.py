"""Fixtures of the scoring tests."""

from pathlib import Path

import pytest

from cal_ratio_trainer.runs.run import Run
from tests.factories.networks import write_network
from tests.scoring.small import small_run


@pytest.fixture(scope="session")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network without a run."""
    return write_network(tmp_path_factory.mktemp("network") / "small.keras")


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, Path, Path]:
    """A small training: its run, its main and its control file; do not change them."""
    return small_run(tmp_path_factory.mktemp("trained"))
