"""What the tests of faults share."""

from pathlib import Path

import pytest

from tests.faults import worked_folder


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which each command finds what it needs."""
    folder = tmp_path_factory.mktemp("before")
    worked_folder.make(folder)
    return folder
