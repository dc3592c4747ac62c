"""Fixtures of the fault tests."""

import os
from pathlib import Path

import pytest

from cal_ratio_trainer.files.leases import held_in_turn
from tests.faults import prepared_folder


@pytest.fixture(scope="session")
def before(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with the inputs of all commands, made once for all workers of pytest-xdist."""
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    folder = shared / "prepared_folder"
    with held_in_turn(folder):
        if not folder.exists():
            made = tmp_path_factory.mktemp("made")
            prepared_folder.make(made)
            made.rename(folder)
    return folder
