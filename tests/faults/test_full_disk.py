"""Each command on a full disk: one sentence and no half-written file."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.commands import run
from tests.faults.prepared_folder import COMMANDS, STATUSES, TRAIN, sums

pytestmark = [
    pytest.mark.faults,
    pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root mounts a small disk"),
]

_FREE_BYTES = 8 << 10


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Separate file system of 32 MiB in memory."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=32m", "tmpfs", folder], capture_output=True, text=True
    )
    if mounted.returncode:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr}")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


@pytest.mark.parametrize("name", [*COMMANDS, "train"])
def test_a_full_disk_is_one_sentence_and_nothing_is_half_written(
    name: str, before: Path, small_disk: Path, tmp_path: Path
) -> None:
    words = COMMANDS.get(name, f"{TRAIN} --model_name another").split()
    folder = small_disk / "work"
    shutil.copytree(before, folder)
    good = sums(folder)
    _fill(small_disk / "filler")
    status, said = run(words, folder, tmp_path / "output.txt")
    assert status not in (0, STATUSES.get(name)), said
    assert "no space left on device" in said.lower()
    assert "Traceback" not in said
    assert [line[:6] for line in said.splitlines() if "rror" in line[:10]] == ["error:"], said
    # Complete files may have found room; reading all shows that none is incomplete.
    assert good.items() <= sums(folder).items()


def _fill(filler: Path) -> None:
    with filler.open("wb", buffering=0) as file:
        try:
            while file.write(bytes(1 << 12)) == 1 << 12:
                pass
        except OSError:
            pass
        file.truncate(max(0, file.tell() - _FREE_BYTES))
