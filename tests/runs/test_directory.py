"""Numbers of runs, and exclusive write access."""

import errno
import json
import multiprocessing
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
import yaml

from cal_ratio_trainer.config.training import FIRST_SETTINGS, TrainSettings
from cal_ratio_trainer.errors import InputFileError
from cal_ratio_trainer.files.leases import lease_file
from cal_ratio_trainer.files.this_process import ProcessName, this_process
from cal_ratio_trainer.runs.finding import find_run, runs_of
from cal_ratio_trainer.runs.run import Run
from cal_ratio_trainer.runs.stored import RunError


def _claim(folder: Path, count: int) -> list[int]:
    return [Run.make(folder, "model").number for _ in range(count)]


def test_processes_that_start_at_the_same_time_get_different_numbers(tmp_path: Path) -> None:
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        claimed = pool.starmap(_claim, [(tmp_path, 20), (tmp_path, 20)])
    assert sorted(claimed[0] + claimed[1]) == list(range(40))


def test_a_start_while_a_failed_one_removes_its_folders_gets_a_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def emptied(output_path: Path, model_name: str) -> list[Run]:
        with suppress(FileNotFoundError):
            (output_path / model_name).rmdir()
        return []

    monkeypatch.setattr("cal_ratio_trainer.runs.finding.runs_of", emptied)
    assert Run.make(tmp_path, "model").number == 0


def test_runs_are_found_by_number_and_counted_back(tmp_path: Path) -> None:
    for _ in range(3):
        Run.make(tmp_path, "model")
    assert find_run(tmp_path, "model", 1).path.name == "00001"
    assert find_run(tmp_path, "model", -1).number == 2
    assert find_run(tmp_path, "model", -3).number == 0
    with pytest.raises(RunError, match="no run -4"):
        find_run(tmp_path, "model", -4)


def test_other_folders_are_no_runs(tmp_path: Path) -> None:
    Run.make(tmp_path, "model")
    (tmp_path / "model" / "notes").mkdir()
    (tmp_path / "model" / "00007").write_text("a file")
    assert [run.number for run in runs_of(tmp_path, "model")] == [0]
    assert runs_of(tmp_path, "another") == []


def test_a_run_in_use_cannot_be_taken(tmp_path: Path) -> None:
    run = Run.make(tmp_path, "model")
    message = "model/00000 is being trained by another process"
    with run.lock(), pytest.raises(RunError, match=message), run.lock():
        pass


def test_a_run_that_another_process_took_over_is_not_written_any_more(tmp_path: Path) -> None:
    run = Run.make(tmp_path, "model")
    run.write_record({"id": "1"})
    with run.lock():
        run.refuse_removed("1")
        lease_file(run.record_file).write_text("of another process")
        with pytest.raises(RunError, match="model/00000 was taken over by another process"):
            run.refuse_removed("1")
    assert lease_file(run.record_file).exists()


def test_the_run_of_a_killed_process_is_free_at_once(tmp_path: Path) -> None:
    run = Run.make(tmp_path, "model")
    gone = ProcessName("here", this_process().machine, 2**22 + 1, "1")
    left = json.dumps({"id": "0123", **gone.as_json(), "stale_after_s": 120.0})
    lease_file(run.record_file).write_text(left)
    assert not run.is_in_use
    with run.lock():
        assert run.is_in_use
    assert list(run.path.iterdir()) == []


def test_a_run_is_free_again_after_the_block(tmp_path: Path) -> None:
    run = Run.make(tmp_path, "model")
    with run.lock():
        assert run.is_in_use
    assert not run.is_in_use


@pytest.mark.parametrize(
    "content",
    [
        *(b"{half", b"[1, 2]", b"null", b"", b"\xff\xfe", b"[" * 100_000, b'{"seed": ' + b"9" * 5000 + b"}"),
        *(b'{"status": 3}', b'{"status": "finishes"}', b'{"data": 3}', b'{"data": {"main": [1]}}', b'{"folds": {}}'),
        *(b'{"data": {"main": {"scaling": {"min_jet_pt": "x"}}}}', b'{"versions": []}', b'{"planned_epochs": -1}'),
        *(
            b'{"planned_epochs": true}',
            b'{"id": 3}',
            b'{"folds": {"count": 1000000000}}',
            b'{"seeds": {"count": 1}}',
            b'{"data": {"control": {"regions": [{"file": "a"}]}}}',
            b'{"data": {"control": {"regions": [{"name": "a", "notes": 3}]}}}',
            b'{"status": "a", "status": 1}',
        ),
    ],
    ids=lambda content: content[:40].decode(errors="replace"),
)
def test_a_damaged_record_is_refused_by_name(tmp_path: Path, content: bytes) -> None:
    run = Run.make(tmp_path, "model")
    assert run.read_record() == {}
    run.record_file.write_bytes(content)
    with pytest.raises(InputFileError, match=r"run\.json: (is no record of a run|is no valid|is no text|has)"):
        run.read_record()


@pytest.mark.parametrize(
    "content",
    [
        *("{", "{}", "[3]", '[{"a": "x"}]', '[{"a": true}]', '[{"a": [1]}]', '[{"a": NaN}]', '[{"a": 1e999}]', "null"),
        *('[{"epoch": 1}]', '[{"epoch": 0}, {"epoch": 2}]'),
    ],
)
def test_a_damaged_history_is_refused_by_name(tmp_path: Path, content: str) -> None:
    run = Run.make(tmp_path, "model")
    with pytest.raises(RunError, match="has no history"):
        run.read_history()
    run.history_file.write_text(content)
    with pytest.raises(InputFileError, match=r"history\.json: (is no history|is no valid|holds|has epoch)"):
        run.read_history()


def test_a_file_that_is_there_and_cannot_be_read_is_no_missing_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run.make(tmp_path, "model")
    for file in (run.record_file, run.history_file):
        file.mkdir()
    readers = (run.read_record, run.read_history)
    for read in readers:
        with pytest.raises(InputFileError, match=r"(run|history)\.json: cannot be read: Is a directory"):
            read()

    def broken(path: Path) -> bytes:
        raise OSError(errno.EIO, "Input/output error", str(path))

    monkeypatch.setattr(Path, "read_bytes", broken)
    for read in readers:
        with pytest.raises(InputFileError, match=r"(run|history)\.json: cannot be read: Input/output error"):
            read()


def run_with_settings(folder: Path, digest: bool) -> Run:
    run = Run.make(folder, "model")
    digests = run.write_settings(TrainSettings.make())
    run.write_record({"status": "finished"} | ({"id": "a", "settings_sha256": digests} if digest else {}))
    return run


@pytest.mark.parametrize("digest", [True, False], ids=["digest", "earlier version"])
def test_no_setting_of_a_run_becomes_a_default(tmp_path: Path, digest: bool) -> None:
    run = run_with_settings(tmp_path, digest)
    lines = run.settings_file.read_text().splitlines(keepends=True)
    assert run.read_settings() == yaml.safe_load("".join(lines))
    for number, line in enumerate(lines):
        if line.split(":")[0] not in FIRST_SETTINGS and not digest:
            continue
        run.settings_file.write_text("".join(lines[:number] + lines[number + 1 :]))
        with pytest.raises(InputFileError, match=r"training_params\.yaml: "):
            run.read_settings()
    run.settings_file.write_text("")
    with pytest.raises(
        InputFileError, match="is not as run model/00000 wrote it" if digest else "lacks model_name, main"
    ):
        run.read_settings()
    run.settings_file.unlink()
    with pytest.raises(InputFileError, match=r"training_params\.yaml: cannot be read: No such file"):
        run.read_settings()


def test_a_setting_that_changed_its_default_keeps_the_earlier_one_in_earlier_runs(tmp_path: Path) -> None:
    run = run_with_settings(tmp_path, digest=False)
    names = ("adversary_momentum", "distance_rise")
    assert [run.read_settings()[name] for name in names] == [0.0, 0.8]
    lines = run.settings_file.read_text().splitlines(keepends=True)
    run.settings_file.write_text("".join(line for line in lines if not line.startswith(names)))
    assert [run.read_settings()[name] for name in names] == [0.99, 0.0]


def test_an_edited_setting_is_refused_with_the_way_to_a_new_run(tmp_path: Path) -> None:
    run = run_with_settings(tmp_path, digest=True)
    run.settings_file.write_text(run.settings_file.read_text().replace("seed: 1\n", "seed: 7\n"))
    with pytest.raises(InputFileError, match=f"it was edited.* 'cr_trainer train --config {run.settings_file}' starts"):
        run.read_settings()


@pytest.mark.parametrize("killed_at", ["write_record", "write_text"])
def test_a_run_killed_between_settings_and_record_can_be_read(
    tmp_path: Path, killed_at: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, before = run_with_settings(tmp_path, digest=True), TrainSettings.make()
    record, changed = run.read_record(), TrainSettings.make(tag="new")

    def killed(*given: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        if killed_at == "write_record":
            patch.setattr(Run, "write_record", killed)
        else:
            patch.setattr("cal_ratio_trainer.runs.folder.write_text", killed_after_record(run))
        with pytest.raises(KeyboardInterrupt):
            run.write_settings(changed, record)
    assert run.read_settings()["tag"] == before.tag
    run.write_settings(changed, run.read_record())
    assert run.read_settings()["tag"] == "new"


def killed_after_record(run: Run) -> Callable[[Path, str], None]:
    """Replacement of `write_text`: the process is killed before the settings are replaced."""

    def write(path: Path, text: str) -> None:
        if path == run.settings_file:
            raise KeyboardInterrupt
        path.write_text(text)

    return write
