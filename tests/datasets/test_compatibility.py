"""Files that cannot be trained on, alone or together."""

from pathlib import Path

import numpy as np
import pytest

from cal_ratio_trainer.datasets.training_file import refuse_different_files, refuse_wrong_scale
from cal_ratio_trainer.errors import InputFileError
from cal_ratio_trainer.jets import Jets
from cal_ratio_trainer.jets.metadata import Cuts, JetMetadata, Scaling
from tests.factories.jets import synthetic_jets

FILE = Path("main.parquet")


def built(
    scaling: tuple[float, float] | None = (0, 500), cuts: tuple[Cuts, ...] = (), unit: str = "GeV"
) -> JetMetadata:
    known = Scaling(min_jet_pt=scaling[0], max_jet_pt=scaling[1]) if scaling else None
    return JetMetadata(stage="built", scaling=known, cuts=list(cuts), units={"llp_mH": unit})


def jets_of(pt: float) -> Jets:
    jets = synthetic_jets(np.zeros(11, dtype=int), 1)
    return jets.with_columns({"jet_pt": np.full(11, pt, dtype=np.float32)})


@pytest.mark.parametrize("scaling", [(0, 500), None])
def test_pt_scaled_once_is_accepted_and_pt_scaled_twice_or_never_is_refused(
    scaling: tuple[float, float] | None,
) -> None:
    refuse_wrong_scale(FILE, jets_of(0.1), built(scaling))
    with pytest.raises(InputFileError, match=r"main.parquet: has a median jet_pt of 0.0002, .* scaled more than once"):
        refuse_wrong_scale(FILE, jets_of(0.1 / 500), built(scaling))
    with pytest.raises(InputFileError, match=r"median jet_pt of 50 .* not scaled; build it first"):
        refuse_wrong_scale(FILE, jets_of(50), built(scaling))


def test_a_range_that_begins_above_zero_gives_small_numbers_that_are_right() -> None:
    refuse_wrong_scale(FILE, jets_of(0.001), built((40, 500)))
    with pytest.raises(InputFileError, match="more than once"):
        refuse_wrong_scale(FILE, jets_of(-0.09), built((40, 500)))


def differences(main: JetMetadata, control: JetMetadata) -> str:
    with pytest.raises(InputFileError) as error:
        refuse_different_files((FILE, main), (Path("control.parquet"), control))
    return str(error.value)


@pytest.mark.parametrize(("main", "control"), [("demo", None), (None, "demo"), ("demo", "toy")])
def test_jets_of_the_demo_are_not_mixed_with_others(main: str | None, control: str | None) -> None:
    first, second = (built().model_copy(update={"simulation": each}) for each in (main, control))
    said = differences(first, second)
    assert said.startswith("control.parquet: holds jets of another simulation")
    assert f"({control or 'no such simulation'}) than main.parquet ({main or 'no such simulation'})" in said


def test_files_that_were_made_alike_or_do_not_say_how_are_accepted() -> None:
    cuts = Cuts(min_jet_pt=40, max_jet_pt=500, max_abs_jet_eta=2.5)
    region = cuts.model_copy(
        update={"require_clean_jets": True, "max_jets_per_event": 2, "event_selection": {"a": "b"}}
    )
    for main, control in [
        (built(), built()),
        (built(), built(None)),
        (built(cuts=(cuts,)), built(cuts=(region,))),
        (built(cuts=(cuts,)), built()),
        (built(cuts=(cuts,)), built(cuts=(Cuts(),))),
    ]:
        refuse_different_files((FILE, main), (Path("control.parquet"), control))


def test_all_differences_are_told_at_once() -> None:
    main = built(cuts=(Cuts(min_jet_pt=40, max_jet_pt=500, max_abs_jet_eta=2.5),))
    control = built((40, 500), (Cuts(min_jet_pt=60, max_jet_pt=500, max_abs_jet_eta=2.0),), unit="TeV")
    words = differences(main, control)
    assert words.startswith("control.parquet: was made differently from main.parquet")
    for said in (
        "scaled from 40 to 500 GeV, the main file from 0 to 500 GeV",
        "llp_mH in TeV, in the main file GeV",
        "min_jet_pt 60, in the main file 40",
        "max_abs_jet_eta 2, in the main file 2.5",
    ):
        assert said in words
