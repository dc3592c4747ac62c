"""Files of networks by name; a changed file, or one of another run or epoch, is refused by name."""

import io
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest

from cal_ratio_trainer.config.runs import ConvertTrainingSettings
from cal_ratio_trainer.config.scoring import ReadingSettings
from cal_ratio_trainer.errors import InputFileError
from cal_ratio_trainer.formats.network_file import read_own_network
from cal_ratio_trainer.runs.finding import find_network, network_file
from cal_ratio_trainer.runs.network_export import export_training
from cal_ratio_trainer.runs.networks import with_digest
from cal_ratio_trainer.runs.run import Run
from cal_ratio_trainer.runs.stored import RunError, warn_without_digests
from cal_ratio_trainer.scoring.scorer import find_scorer
from tests.factories.files import write_training_files
from tests.factories.runs import TINY, history_row, train_small, write_run


def test_the_newest_epoch_is_also_found_among_the_kept_ones(tmp_path: Path) -> None:
    run = write_run(tmp_path / "default" / "00000", [history_row(0.9, 1.0), history_row(0.95, 0.9)])
    run.weights_file(1).parent.mkdir()
    with pytest.raises(RunError, match="no weights of epoch 1; kept are none yet"):
        find_network("default/0/1", tmp_path)
    run.weights_file(1).touch()
    assert find_network("default/0/1", tmp_path).file == run.weights_file(1)
    newest = run.path / "keras" / "final_model.keras"
    newest.touch()
    for name in ("default/0", "default/0/last", "default/0/1"):
        assert find_network(name, tmp_path).file == newest
    with pytest.raises(RunError, match="no weights of epoch 0; kept are 1"):
        find_network("default/0/0", tmp_path)


def test_a_network_file_of_another_program_is_answered_with_the_command_that_takes_it(tmp_path: Path) -> None:
    (tmp_path / "model.json").write_text("{}")
    with pytest.raises(RunError, match=r"model\.json is no .* \.safetensors file .* 'cr_trainer import' makes a run"):
        find_network(str(tmp_path / "model.json"), tmp_path)


@pytest.mark.parametrize(
    ("name", "epoch"),
    [
        ("{folder}", 1),
        ("{folder}/", 1),
        ("{folder}/0", 0),
        ("{folder}/best", 0),
        ("{folder}/last/", 1),
        ("training_results/default/00000", 1),
        ("./training_results/default/00000/0", 0),
        ("training_results/../training_results/default/00000/best", 0),
        ("default/0/best", 0),
    ],
)
def test_the_folder_that_a_training_prints_names_its_networks_too(
    name: str, epoch: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "training_results" / "default" / "00000"
    run = write_run(folder, [history_row(0.9, 0.5), history_row(0.5, 2.0)])
    run.weights_file(0).parent.mkdir()
    for number in (0, 1):
        run.weights_file(number).touch()
    monkeypatch.chdir(tmp_path)
    found = find_network(name.format(folder=folder), Path("training_results"))
    assert found.file.resolve() == run.weights_file(epoch)
    assert found.name == f"default/00000/{epoch}"
    assert network_file(name.format(folder=folder), Path("training_results")) == found.file


def test_a_name_under_the_folder_of_runs_comes_before_a_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for place in ("here", "runs"):
        write_run(tmp_path / place / "default" / "00000", [history_row(0.9, 0.5)]).weights_file(0).parent.mkdir()
        (tmp_path / place / "default" / "00000" / "keras" / "final_model.keras").touch()
    monkeypatch.chdir(tmp_path / "here")
    assert tmp_path / "runs" in find_network("default/00000", tmp_path / "runs").file.parents
    assert tmp_path / "here" in find_network("default/00000", tmp_path / "nowhere").file.parents


@pytest.mark.parametrize("name", ["{folder}", "{folder}/00000/keras/final", "", "/", "default", "a\0b"])
def test_a_path_without_a_run_is_refused_in_a_sentence(name: str, tmp_path: Path) -> None:
    write_run(tmp_path / "default" / "00000", [history_row(0.9, 0.5)])
    with pytest.raises(RunError, match=r"is no network: give NAME/RUN or NAME/RUN/EPOCH .*, the folder of a run, or a"):
        find_network(name.format(folder=tmp_path / "default"), tmp_path)


def test_a_path_to_a_run_that_is_not_there_is_told_the_runs_that_are(tmp_path: Path) -> None:
    write_run(tmp_path / "default" / "00000", [history_row(0.9, 0.5)])
    with pytest.raises(RunError, match=r"model default has no run 7 under .*; its runs: 0"):
        find_network(str(tmp_path / "default" / "00007"), tmp_path)


def test_the_best_epoch_of_a_run_without_history_is_refused_with_the_name_of_its_newest_network(tmp_path: Path) -> None:
    write_run(tmp_path / "old" / "00000", None, {"status": "imported"})
    with pytest.raises(RunError, match="run old/00000 has no best epoch: it was imported without a history; old/00000"):
        find_network("old/0/best", tmp_path)
    write_run(tmp_path / "new" / "00000", None, {"status": "running"})
    with pytest.raises(RunError, match="run new/00000 has no best epoch: none is finished"):
        find_network("new/0/best", tmp_path)
    row: dict[str, float | None] = {**history_row(0.9, 0.5), "val_auc": None}
    write_run(tmp_path / "half" / "00000", [row])
    with pytest.raises(RunError, match=r"for the rule auc-near-lowest-ks; --rule validation-loss or .* finds one"):
        find_network("half/0/best", tmp_path)


ZIP = b"PK\x05\x06" + bytes(18)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two runs of two epochs each."""
    folder = tmp_path_factory.mktemp("runs")
    files = write_training_files(folder, 300, 200)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("cal_ratio_trainer.training.run_plots.DrawingPool.submit", lambda *given, **more: None)
        for seed in (1, 2):
            train_small(files, folder, **{**TINY, "seed": seed, "keep_weights": "all"})
    return folder


@pytest.fixture(params=[".safetensors", ".keras"])
def suffix(request: pytest.FixtureRequest) -> str:
    """Ending of the files that networks are read from; `.keras` as in runs that have no others."""
    kind: str = request.param
    return kind


@pytest.fixture
def runs(trained: Path, tmp_path: Path, suffix: str) -> Path:
    """Copy of it that a test may damage."""
    shutil.copytree(trained, tmp_path, dirs_exist_ok=True)
    if suffix == ".keras":
        for file in tmp_path.glob("default/*/keras/final_model*.safetensors"):
            file.unlink()
    return tmp_path


def _network(runs: Path, run: int, epoch: int, suffix: str = ".keras") -> Path:
    return Run(runs / "default" / f"{run:05d}").weights_file(epoch).with_suffix(suffix)


def test_a_kept_network_is_a_zip_as_before_with_a_comment(trained: Path) -> None:
    file = _network(trained, 0, 1)
    with zipfile.ZipFile(file) as archive:
        assert archive.testzip() is None
        assert archive.comment.startswith(b'{"cal_ratio_trainer_run"')
    read_own_network(file)
    assert file.read_bytes() == (file.parent / "final_model.keras").read_bytes()


def test_no_flipped_bit_of_a_kept_network_is_used(runs: Path, suffix: str) -> None:
    file, random = _network(runs, 0, 0, suffix), np.random.default_rng(3)
    good = file.read_bytes()
    for place in (*random.integers(len(good), size=60), *range(len(good) - 60, len(good))):
        damaged = bytearray(good)
        damaged[place] ^= 1 << int(random.integers(8))
        file.write_bytes(damaged)
        with pytest.raises(
            InputFileError, match=rf"final_model_weights_0\{suffix}: is (not as|a network of another) run"
        ):
            find_network("default/0/0", runs)


@pytest.mark.parametrize(
    "comment",
    [
        b"7",
        b"[]",
        b"{}",
        b'{"cal_ratio_trainer_run": ',
        b'{"cal_ratio_trainer_run": "%s", "epoch": 0}' % (b"a" * 70_000),
    ],
    ids=["number", "list", "nothing", "cut off", "longer than a comment can be"],
)
@pytest.mark.parametrize("content", [b"", b"a", ZIP], ids=["empty", "one byte", "zip"])
def test_a_comment_that_the_run_did_not_write_is_refused(tmp_path: Path, content: bytes, comment: bytes) -> None:
    run = write_run(tmp_path / "m" / "00000", [{}], {"id": "a" * 32})
    run.weights_file(0).parent.mkdir()
    run.weights_file(0).write_bytes(content + comment)
    with pytest.raises(InputFileError, match="is not as run m/00000 wrote it"):
        run.network_at("0")


def test_a_network_of_another_run_or_epoch_is_refused_whatever_uses_it(runs: Path, tmp_path: Path, suffix: str) -> None:
    shutil.copy(_network(runs, 1, 0, suffix), _network(runs, 0, 0, suffix))
    export = ConvertTrainingSettings.make(
        training="default/0/0", output_path=runs, output_json=tmp_path / "out.json", format="keras"
    )
    for use in (
        lambda: find_scorer("default/0/0", ReadingSettings.make(output_path=runs)),
        lambda: export_training(export),
        lambda: find_network("default/0/0", runs),
    ):
        with pytest.raises(InputFileError, match="is a network of another run than default/00000"):
            use()
    shutil.copy(_network(runs, 0, 1, suffix), _network(runs, 0, 0, suffix))
    with pytest.raises(InputFileError, match="is the network of another epoch of run default/00000"):
        find_network("default/0/0", runs)


@pytest.mark.parametrize("suffix", [".keras"], indirect=True)
def test_a_network_without_digest_is_refused_in_a_run_that_has_them(runs: Path) -> None:
    file, packed = _network(runs, 0, 0), io.BytesIO()
    with zipfile.ZipFile(file) as archive, zipfile.ZipFile(packed, "w") as again:
        for name in archive.namelist():
            again.writestr(name, archive.read(name))
    file.write_bytes(packed.getvalue())
    with pytest.raises(InputFileError, match="is not as run default/00000 wrote it"):
        find_network("default/0/0", runs)


@pytest.mark.parametrize("kept", [True, False], ids=["kept", "not kept"])
def test_a_run_killed_while_it_wrote_an_epoch_still_names_the_epoch_that_its_history_ends_with(
    tmp_path: Path, kept: bool
) -> None:
    """final_model.keras is then ahead of history.json and must not count as the epoch before."""
    run = write_run(tmp_path / "m" / "00000", [{}, {}], {"id": "a" * 32})
    final = run.path / "keras" / "final_model.keras"
    final.parent.mkdir()
    final.write_bytes(with_digest(ZIP, "a" * 32, 2))
    if kept:
        run.weights_file(1).write_bytes(with_digest(ZIP, "a" * 32, 1))
        assert run.network_at("last").file == run.weights_file(1)
        return
    with pytest.raises(RunError, match="has no weights of epoch 1"):
        run.network_at("last")


def test_networks_of_a_run_of_an_earlier_version_are_taken_and_that_is_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = write_run(tmp_path / "m" / "00000", [{}, {}])
    run.weights_file(0).parent.mkdir()
    for epoch in (0, 1):
        run.weights_file(epoch).write_bytes(ZIP)
    warn_without_digests.cache_clear()
    assert [find_network(f"m/0/{epoch}", tmp_path).file for epoch in (0, 1)] == [
        run.weights_file(0),
        run.weights_file(1),
    ]
    assert caplog.text.count("is of an earlier version, which kept no digests") == 1
    run.weights_file(0).write_bytes(with_digest(ZIP, "a" * 32, 0))
    with pytest.raises(InputFileError, match="is a network of another run than m/00000"):
        find_network("m/0/0", tmp_path)
