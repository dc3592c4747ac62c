"""Standard streams that are full, closed or without a reader."""

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [
    pytest.mark.faults,
    pytest.mark.skipif(not Path("/dev/full").exists(), reason="the machine has no device that is always full"),
]

HEARING_NOBODY = (
    "import sys; from cal_ratio_trainer.cli.main import main; sys.argv = ['cr_trainer', *sys.argv[1:]]; main()"
)


def call(words: str, redirection: str, folder: Path, unbuffered: bool = False) -> "subprocess.CompletedProcess[str]":
    """Runs the command line in a shell that redirects its streams."""
    program = " ".join(map(shlex.quote, (sys.executable, "-c", HEARING_NOBODY)))
    environment = {**os.environ, "PYTHONUNBUFFERED": "1" if unbuffered else ""}
    line = f"set -o pipefail; {program} {words} {redirection}"
    return subprocess.run(
        ["bash", "-c", line], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("unbuffered", [False, True])
@pytest.mark.parametrize("words", ["--version", "train --help", "train --print_settings", "demo --jets 20 --workers 1"])
def test_a_full_disk_behind_standard_output_is_an_error_in_a_sentence(
    tmp_path: Path, words: str, unbuffered: bool
) -> None:
    done = call(words, ">/dev/full", tmp_path, unbuffered)
    assert done.returncode == 2
    assert done.stderr.endswith("no space left on device\n")
    assert "Traceback" not in done.stderr
    assert "Exception" not in done.stderr


@pytest.mark.parametrize("redirection", [">&-", "2>&-", ">&- 2>&-", "<&- >&- 2>&-", "2>/dev/full"])
def test_closed_streams_do_not_stop_a_command(tmp_path: Path, redirection: str) -> None:
    done = call("demo --jets 20 --workers 1 --output_path demo", redirection, tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "demo" / "convert.yaml").exists()


@pytest.mark.parametrize("redirection", ["2>&-", "2>/dev/full", "2>/dev/full >/dev/full"])
def test_a_mistake_that_nobody_can_be_told_of_has_its_status(tmp_path: Path, redirection: str) -> None:
    done = call("never", redirection, tmp_path)
    assert (done.returncode, done.stdout) == (2, "")


@pytest.mark.parametrize("unbuffered", [False, True])
def test_a_pipe_that_nobody_reads_ends_a_command_without_words(tmp_path: Path, unbuffered: bool) -> None:
    done = call("train --help", "| true", tmp_path, unbuffered)
    assert (done.returncode, done.stderr) == (1, "")


def test_no_file_gets_the_number_of_a_closed_stream(tmp_path: Path) -> None:
    code = "import sys; from cal_ratio_trainer.launching import open_closed_streams; open_closed_streams()\n"
    code += "sys.exit(open('file', 'w').fileno() <= 2)"
    line = f"{shlex.quote(sys.executable)} -c {shlex.quote(code)} <&- >&- 2>&-"
    assert subprocess.run(["bash", "-c", line], cwd=tmp_path, check=False).returncode == 0
