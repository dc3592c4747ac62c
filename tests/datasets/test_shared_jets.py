"""Jets that stand in the main file and in a control region are counted, or refused where their parts can differ."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cal_ratio_trainer.config.training import TrainSettings
from cal_ratio_trainer.datasets.data import choose_training_data, shared_jets
from cal_ratio_trainer.errors import InputFileError
from cal_ratio_trainer.jets import Jets
from cal_ratio_trainer.jets.loading import read_jets
from cal_ratio_trainer.jets.metadata import JetMetadata
from cal_ratio_trainer.jets.store import write_jets
from tests.factories.files import SCALING, write_training_files


def written_with_main_jets(folder: Path, channel: int | None = None) -> tuple[Path, Path, int]:
    """Main file, a control region whose simulation is QCD of the main file, and the number of these jets."""
    main, control = write_training_files(folder)
    jets, data = read_jets(main), read_jets(control)
    shared = jets.where(jets.label == 0)
    if channel is not None:
        shared = shared.with_columns({"mcChannelNumber": np.full(len(shared), channel, dtype=np.uint32)})
    both = Jets.concatenate([shared, data.where(data.label == 2)])
    file = folder / "shared.parquet"
    write_jets(file, both, JetMetadata(stage="built", kind="control", scaling=SCALING, simulation="demo"))
    return main, file, len(shared)


def sentences(main: Path, control: Path, **changes: Any) -> list[str]:
    settings = TrainSettings.make(
        **{"main_training_file": str(main), "cr_training_file": str(control), "sample_fraction": 1.0, **changes}
    )
    return shared_jets(choose_training_data(settings, main, control), settings)


def test_files_without_common_jets_need_no_word(tmp_path: Path) -> None:
    assert sentences(*write_training_files(tmp_path)) == []


def test_jets_in_both_files_are_counted(tmp_path: Path) -> None:
    main, control, count = written_with_main_jets(tmp_path)
    (said,) = sentences(main, control)
    assert said.startswith(f"warning: {count} of {len(read_jets(control))} jets of {control} are jets of {main} too, ")
    assert "each event in the same part of both files" in said


def test_a_split_by_row_is_refused(tmp_path: Path) -> None:
    main, control, count = written_with_main_jets(tmp_path)
    with pytest.raises(InputFileError, match=rf"shared.parquet: .* {count} jets are in both: split 'row'"):
        sentences(main, control, split="row")


def test_other_numbers_of_the_same_events_are_refused(tmp_path: Path) -> None:
    main, control, count = written_with_main_jets(tmp_path, channel=7)
    with pytest.raises(InputFileError, match=rf"{count} jets are in both: their mcChannelNumber or runNumber differ"):
        sentences(main, control)


def test_a_file_without_event_numbers_is_refused(tmp_path: Path) -> None:
    main, control, count = written_with_main_jets(tmp_path)
    jets = read_jets(control)
    without = jets.without_columns(["eventNumber"])
    write_jets(control, without, JetMetadata(stage="built", kind="control", scaling=SCALING, simulation="demo"))
    with pytest.raises(InputFileError, match=rf"{count} jets are in both: a file has no event numbers"):
        sentences(main, control)
