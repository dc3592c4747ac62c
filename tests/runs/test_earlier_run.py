"""Folders of the earlier program: files that are found, and its history."""

import json
import math
from pathlib import Path

import pytest

from cal_ratio_trainer.errors import InputFileError
from cal_ratio_trainer.runs.earlier_run import earlier_run, read_history

NAMES = ("ks_bib_hist", "adv_loss")


def folder_with(folder: Path, *names: str) -> Path:
    """A folder with empty files of these names."""
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    return folder


def test_the_files_of_a_run_are_found_by_their_names(tmp_path: Path) -> None:
    run = folder_with(
        tmp_path / "my_model" / "00003",
        *(f"keras/final_model_weights_{epoch}.keras" for epoch in (10, 9, 100)),
        "keras/final_model_weights_7.weights.h5",
        "keras/final_model.keras",
        "keras/model.keras",
        "keras/discriminator_checkpoint.keras",
        "keras/final_weights_checkpoint.keras",
        "keras/history_checkpoint.json",
        "training_params.yaml",
    )
    for path in (run, run / "keras"):
        found = earlier_run(path)
        assert list(found.epochs) == [7, 9, 10, 100]
        assert found.name == "my_model"
        assert [file.name for file in (found.newest, found.model, found.history, found.settings) if file] == [
            "final_weights_checkpoint.keras",
            "final_model.keras",
            "history_checkpoint.json",
            "training_params.yaml",
        ]
        assert found.details is None


def test_weights_can_lie_in_a_folder_of_any_name(tmp_path: Path) -> None:
    found = earlier_run(folder_with(tmp_path / "kept", "final_model_weights_3.h5"))
    assert (found.name, list(found.epochs)) == ("kept", [3])


def test_a_file_alone_gives_its_name(tmp_path: Path) -> None:
    folder_with(tmp_path, "some.weights.h5", "some.json")
    assert earlier_run(tmp_path / "some.weights.h5").name == "some"
    assert earlier_run(tmp_path / "some.json").name == "some"


@pytest.mark.parametrize(
    ("files", "said"),
    [
        (("keras/final_model.keras",), "holds no trained weights"),
        (("readme.txt",), "holds no trained weights"),
        (("run.json", "keras/final_model_weights_1.keras"), "is a run of this program; it needs no import"),
        (("keras/checkpoint.safetensors", "keras/final_model_weights_1.keras"), "is a run of this program"),
        (("keras/final_model_weights_1.keras", "keras/final_model_weights_1.h5"), "is the second file of epoch 1"),
        (("keras/final_weights_checkpoint.keras", "keras/final_weights_checkpoint.h5"), "is the second checkpoint"),
    ],
)
def test_folders_that_are_no_earlier_run_are_refused(files: tuple[str, ...], said: str, tmp_path: Path) -> None:
    with pytest.raises(InputFileError, match=said):
        earlier_run(folder_with(tmp_path, *files))


def test_a_path_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputFileError, match="no such file or folder"):
        earlier_run(tmp_path / "none")


def test_a_history_becomes_a_row_an_epoch(tmp_path: Path) -> None:
    file = tmp_path / "history_checkpoint.json"
    file.write_text(json.dumps({"ks_bib_hist": [0.5, math.nan, 0.3], "adv_loss": [0.7, 1], "lr": [1, 2, 3]}))
    rows, unknown = read_history(file, NAMES)
    assert [list(row) for row in rows] == [list(NAMES)] * 3
    assert [row["ks_bib_hist"] for row in rows] == pytest.approx([0.5, math.nan, 0.3], nan_ok=True)
    assert [row["adv_loss"] for row in rows] == pytest.approx([0.7, 1, math.nan], nan_ok=True)
    assert unknown == ["lr"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[]", "holds a list, expected"),
        ('{"adv_loss": 3}', "'adv_loss' is no list of numbers"),
        ('{"adv_loss": ["3"]}', "'adv_loss' is no list of numbers"),
        ('{"adv_loss": [true]}', "'adv_loss' is no list of numbers"),
        ('{"adv_loss": [1', "is no valid JSON"),
        ("[" * 200_000, "nested too deeply"),
        ('{"\\ud800": [1]}', "holds half a character"),
        (
            '{"adv_loss": [' + "1," * 100_000 + "1]}",
            "has 100001 epochs; histories of at most 100000 are read",
        ),
    ],
)
def test_a_history_of_another_form_is_refused(text: str, said: str, tmp_path: Path) -> None:
    file = tmp_path / "history_checkpoint.json"
    file.write_text(text)
    with pytest.raises(InputFileError, match=said):
        read_history(file, NAMES)


def test_numbers_that_are_none_become_unknown(tmp_path: Path) -> None:
    file = tmp_path / "history_checkpoint.json"
    file.write_text('{"adv_loss": [Infinity, 1e999, ' + "9" * 400 + "]}")
    rows, _ = read_history(file, NAMES)
    assert all(math.isnan(row["adv_loss"]) for row in rows)
