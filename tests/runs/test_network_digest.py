"""Networks that a run keeps: a changed one, or one of another run or epoch, is refused by name."""

import io
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest

from cal_ratio_trainer.config.convert_training import ConvertTrainingSettings
from cal_ratio_trainer.config.reading import ReadingSettings
from cal_ratio_trainer.errors import InputFileError
from cal_ratio_trainer.formats.keras_file import read_keras
from cal_ratio_trainer.runs.directory import RunDirectory, RunError, warn_without_digests
from cal_ratio_trainer.runs.fold_export import write_training
from cal_ratio_trainer.runs.network_digest import with_digest
from cal_ratio_trainer.runs.network_names import find_network, network_of
from cal_ratio_trainer.scoring.scorer import find_scorer
from tests.training.fold_sets import TINY
from tests.training.run_folders import train_small, write_run
from tests.training.synthetic import write_training_files

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


@pytest.fixture
def runs(trained: Path, tmp_path: Path) -> Path:
    """A copy of it that a test may damage."""
    shutil.copytree(trained, tmp_path, dirs_exist_ok=True)
    return tmp_path


def _network(runs: Path, run: int, epoch: int) -> Path:
    return RunDirectory(runs / "default" / f"{run:05d}").weights_file(epoch)


def test_a_kept_network_is_a_zip_as_before_with_a_comment(trained: Path) -> None:
    file = _network(trained, 0, 1)
    with zipfile.ZipFile(file) as archive:
        assert archive.testzip() is None
        assert archive.comment.startswith(b'{"cal_ratio_trainer_run"')
    read_keras(file)
    assert file.read_bytes() == (file.parent / "final_model.keras").read_bytes()


def test_no_flipped_bit_of_a_kept_network_is_used(runs: Path) -> None:
    file, random = _network(runs, 0, 0), np.random.default_rng(3)
    good = file.read_bytes()
    for place in (*random.integers(len(good), size=60), *range(len(good) - 60, len(good))):
        damaged = bytearray(good)
        damaged[place] ^= 1 << int(random.integers(8))
        file.write_bytes(damaged)
        with pytest.raises(InputFileError, match=r"final_model_weights_0\.keras: is (not as|a network of another) run"):
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
        network_of(run, "0")


def test_a_network_of_another_run_or_epoch_is_refused_whatever_uses_it(runs: Path, tmp_path: Path) -> None:
    shutil.copy(_network(runs, 1, 0), _network(runs, 0, 0))
    export = ConvertTrainingSettings.make(
        training="default/0/0", output_path=runs, output_json=tmp_path / "out.json", format="keras"
    )
    for use in (
        lambda: find_scorer("default/0/0", ReadingSettings.make(output_path=runs)),
        lambda: write_training(export),
        lambda: find_network("default/0/0", runs),
    ):
        with pytest.raises(InputFileError, match="is a network of another run than default/00000"):
            use()
    shutil.copy(_network(runs, 0, 1), _network(runs, 0, 0))
    with pytest.raises(InputFileError, match="is the network of another epoch of run default/00000"):
        find_network("default/0/0", runs)


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
    """final_model.keras is ahead of history.json then; it is not taken for the epoch before."""
    run = write_run(tmp_path / "m" / "00000", [{}, {}], {"id": "a" * 32})
    final = run.path / "keras" / "final_model.keras"
    final.parent.mkdir()
    final.write_bytes(with_digest(ZIP, "a" * 32, 2))
    if kept:
        run.weights_file(1).write_bytes(with_digest(ZIP, "a" * 32, 1))
        assert network_of(run, "last").file == run.weights_file(1)
        return
    with pytest.raises(RunError, match="has no weights of epoch 1"):
        network_of(run, "last")


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
