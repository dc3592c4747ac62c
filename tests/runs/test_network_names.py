"""Which file a network's name means."""

from pathlib import Path

import pytest

from cal_ratio_trainer.runs.directory import RunError
from cal_ratio_trainer.runs.network_names import find_network, network_file
from tests.training.run_folders import history_row, write_run


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
    with pytest.raises(RunError, match=r"model\.json is no \.keras file .* 'cr_trainer import' makes a run of other"):
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


@pytest.mark.parametrize(
    "name", ["{folder}", "{folder}/00007", "{folder}/00000/keras/final", "", "/", "default", "a\0b"]
)
def test_a_path_without_a_run_is_refused_in_a_sentence(name: str, tmp_path: Path) -> None:
    write_run(tmp_path / "default" / "00000", [history_row(0.9, 0.5)])
    with pytest.raises(RunError, match=r"is no network: give NAME/RUN or NAME/RUN/EPOCH .*, the folder of a run, or a"):
        find_network(name.format(folder=tmp_path / "default"), tmp_path)


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
