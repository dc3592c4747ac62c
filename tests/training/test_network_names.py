"""Which file a network's name means."""

from pathlib import Path

import pytest

from cal_ratio_trainer.training.network_names import find_network
from cal_ratio_trainer.training.run_directory import RunError
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
