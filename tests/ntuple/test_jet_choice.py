"""Selections of users: the remaining events and jets, and a cutflow that accounts for every jet."""

import re
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cal_ratio_trainer.config.convert import ConvertSettings, named_conditions
from cal_ratio_trainer.config.loading import load_settings, read_config
from cal_ratio_trainer.errors import ConfigError
from cal_ratio_trainer.jets.loading import read_jets
from cal_ratio_trainer.jets.store import read_metadata, write_jets
from cal_ratio_trainer.ntuple import ConversionRow, Status, convert_files
from tests.factories.ntuples import Event, cluster, event, random_events, track, write_ntuple

HARDEST = "two hardest in range"


def converted(tmp_path: Path, events: list[Event], **options: Any) -> ConversionRow:
    """Writes events and converts them."""
    file = write_ntuple(tmp_path / "a.root", events)
    given = {"data_type": "qcd", "overwrite": True, "output_path": tmp_path / "jets"} | options
    return convert_files(ConvertSettings.make(input_files=[str(file)], **given)).rows[0]


def kept(row: ConversionRow) -> list[tuple[int, int]]:
    """Event number and position of each jet that is kept."""
    assert row.status in (Status.CONVERTED, Status.NO_JETS), row.reason
    assert row.output is not None
    jets = read_jets(row.output)
    if not len(jets):
        return []
    return list(zip(jets["eventNumber"].tolist(), jets["jet_index"].tolist(), strict=True))


def steps(row: ConversionRow) -> dict[str, tuple[int, int]]:
    """Events and jets after each step."""
    return {step.step: (step.events, step.jets) for step in row.cutflow}


def test_events_are_chosen_by_numbers_of_the_event_and_of_its_hardest_jets(tmp_path: Path) -> None:
    events = [
        event((60, 0, 0), (120, 0, 3.0), number=1, further={"trigger": 0}),
        event((120, 0, 0), (60, 0, 1.0), number=2, further={"trigger": 0}),
        event((120, 0, 3.1), (60, 0, -0.1), number=3, further={"trigger": 1}),
        event((120, 0, 0), number=4, further={"trigger": 0}),
    ]
    selection = {
        HARDEST: "jet_pT[0] > 100 and jet_pT[1] > 50",
        "back to back": "delta_phi(jet_phi[0], jet_phi[1]) > 2.8",
    }
    row = converted(tmp_path, events, event_selection=selection)
    # The jets of event 1 stand in the file with the softer first; event 4 has one jet only.
    assert kept(row) == [(1, 1), (1, 0), (3, 0), (3, 1)]
    assert steps(row)[f"events: {HARDEST}"] == (3, 6)
    assert steps(row)["events: back to back"] == (2, 4)
    assert kept(converted(tmp_path, events, event_selection=[*selection.values(), "trigger == 0"])) == [(1, 1), (1, 0)]
    assert kept(converted(tmp_path, events, event_selection="not jet_pT[1] > 0")) == [(4, 0)]
    assert kept(converted(tmp_path, events, event_selection="2 < 1")) == []


def test_jets_are_chosen_by_their_own_numbers_and_those_of_their_event(tmp_path: Path) -> None:
    events = [
        event((120, 0, 0), (60, 0.5, 0), number=1, further={"jvt": [0.9, 0.1], "mu": 20.0}),
        event((120, 0, 0), (60, 0.5, 3.0), number=2, further={"jvt": [0.1, 0.9], "mu": 40.0}),
    ]
    assert kept(converted(tmp_path, events, jet_selection="jvt > 0.5")) == [(1, 0), (2, 1)]
    assert kept(converted(tmp_path, events, jet_selection=["jvt > 0.5", "mu > 30"])) == [(2, 1)]
    beside = converted(tmp_path, events, jet_selection="delta_phi(jet_phi, jet_phi[0]) > 2")
    assert kept(beside) == [(2, 1)]
    assert steps(beside)["jets: delta_phi(jet_phi, jet_phi[0]) > 2"] == (1, 1)


def test_clean_and_hardest_jets(tmp_path: Path) -> None:
    file = tmp_path / "a.root"
    jets = ((50.0, 0.0, 0.0), (120.0, 0.5, 0.0), (80.0, 1.0, 0.0))
    flags = {"jet_isClean_LooseBadLLP": [1.0, 0.0, 1.0]}
    write_ntuple(
        file,
        [
            event(*jets, number=1, further=flags),
            event(*jets[:2], number=2, further={"jet_isClean_LooseBadLLP": [0.0, 0.0]}),
        ],
    )
    options = {"data_type": "qcd", "output_path": tmp_path / "jets", "overwrite": True, "input_files": [str(file)]}
    clean = convert_files(ConvertSettings.make(require_clean_jets=True, **options)).rows[0]
    assert kept(clean) == [(1, 2), (1, 0)]
    assert steps(clean)["jet clean"] == (1, 2)
    hardest = convert_files(ConvertSettings.make(max_jets_per_event=1, **options)).rows[0]
    assert kept(hardest) == [(1, 1), (2, 1)]
    assert steps(hardest)["hardest 1 of the event"] == (2, 2)
    both = convert_files(ConvertSettings.make(max_jets_per_event=1, require_clean_jets=True, **options)).rows[0]
    assert kept(both) == [(1, 2)]


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    seed=st.integers(0, 2**32 - 1),
    data_type=st.sampled_from(["qcd", "data", "sig", "bib"]),
    smallest=st.floats(20, 200),
    most=st.sampled_from([None, 1, 2]),
)
def test_every_jet_of_the_input_is_accounted_for_in_the_cutflow(
    tmp_path: Path, seed: int, data_type: str, smallest: float, most: int | None
) -> None:
    events = random_events(seed, 14)
    masses = {"llp_mH": 125.0, "llp_mS": 55.0} if data_type == "sig" else {}
    options = {"event_selection": f"jet_pT[0] > {smallest} and perEvent > -1", "jet_selection": "perJet < 1"}
    row = converted(
        tmp_path, events, data_type=data_type, max_jets_per_event=most, require_clean_jets=True, **options, **masses
    )
    found = steps(row)
    jets, lost = [number for _, number in found.values()], Counter[str]()
    for each in events:
        hardest = max((pt for pt, _, _ in each.jets), default=-1)
        for (pt, eta, _), own in zip(each.jets, each.further["perJet"], strict=True):
            if not (hardest > smallest and each.further["perEvent"] > -1):
                lost["event"] += 1
            elif not 40 <= pt < 500:
                lost["pt"] += 1
            elif not abs(eta) <= 2.5:
                lost["eta"] += 1
            elif not own < 1:
                lost["own"] += 1
    assert jets[0] == sum(len(each.jets) for each in events)
    dropped = [lost[name] for name in ("event", "none", "pt", "eta", "own")]
    assert [before - after for before, after in pairwise(jets[:6])] == dropped
    assert all(before >= after for before, after in pairwise(jets))
    assert jets[-1] == row.jets == len(kept(row))
    counts = [number for number, _ in found.values()]
    assert counts[0] == len(events)
    assert all(before >= after for before, after in pairwise(counts))
    # Matching and clusters drop the rest; at most this many jets of an event remain.
    assert most is None or max(Counter(number for number, _ in kept(row)).values(), default=0) <= most


def test_selections_are_kept_with_the_jets_and_are_other_options(tmp_path: Path) -> None:
    events = [event((100, 0, 0), number=1, further={"mu": 30.0})]
    row = converted(
        tmp_path, events, event_selection={"busy": "mu > 10"}, max_jets_per_event=2, require_clean_jets=True
    )
    assert row.output is not None
    (cuts,) = read_metadata(row.output).cuts
    assert (cuts.min_jet_pt, cuts.max_jet_pt, cuts.max_abs_jet_eta) == (40, 500, 2.5)
    assert (cuts.event_selection, cuts.require_clean_jets, cuts.max_jets_per_event) == ({"busy": "mu > 10"}, True, 2)
    again = converted(tmp_path, events, overwrite=False)
    assert again.status is Status.FAILED
    assert "was converted with other options (event_selection {'busy': 'mu > 10'} then, None now" in again.reason


def test_a_file_of_before_selections_is_not_converted_again(tmp_path: Path) -> None:
    row = converted(tmp_path, [event((100, 0, 0))])
    assert row.output is not None
    metadata = read_metadata(row.output)
    old = {name: value for name, value in metadata.options.items() if "selection" not in name and "jets" not in name}
    write_jets(row.output, read_jets(row.output), metadata.model_copy(update={"options": old, "cuts": []}))
    assert converted(tmp_path, [event((100, 0, 0))], overwrite=False).status is Status.ALREADY_DONE


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"event_selection": "jet_pT > 60"}, r"branch jet_pT of the selection holds lists: .* as jet_pT\[0\]"),
        ({"event_selection": "mu[0] > 60"}, "branch mu of the selection holds one number per event: .* as mu"),
        ({"jet_selection": "clus_pt > 60"}, r"branch clus_pt of the selection holds lists: .*clus_pt\[0\]"),
        ({"event_selection": "track_jetIndex[0] > 60"}, "branch track_jetIndex of the selection holds lists"),
        ({"event_selection": "jet_pt[0] > 60"}, r"lacks jet_pt \(did you mean jet_pT\?\)"),
        ({"event_selection": "mu + 1"}, "a number where a comparison was expected"),
    ],
)
def test_conditions_that_do_not_fit_the_tree_fail_the_file_with_a_reason(
    tmp_path: Path, options: dict[str, str], said: str
) -> None:
    one = event((100, 0, 0), clusters=[cluster(0), cluster(0)], tracks=[track(0)], further={"mu": 30.0})
    row = converted(tmp_path, [one], **options)
    assert row.status is Status.FAILED
    assert re.search(said, row.reason), row.reason


def test_conditions_that_cannot_be_read_are_mistakes_of_the_settings() -> None:
    for name in ("event_selection", "jet_selection"):
        with pytest.raises(ConfigError, match=f"{name}.*cannot be read"):
            load_settings(ConvertSettings, None, {name: ["jet_pT[0] >"]})


def test_the_packaged_control_region_is_a_selection_of_its_own_branches(tmp_path: Path) -> None:
    config = read_config("dijet_control")
    names = [name.strip("`") for name in config["event_selection"]["no signal trigger"].split() if name.startswith("`")]
    assert len(names) == 8
    silent: dict[str, Any] = {"pileupWeight": 1.0, "actualInteractionsPerCrossing": 20.0} | dict.fromkeys(names, 0)
    back_to_back = ((100, 0.0, 0.0), (90, 0.1, 3.1), (45, 0.1, 1.5))
    events = [
        event(*back_to_back, number=1, further=silent),
        event(*back_to_back, number=2, further=silent | {names[2]: 1}),
        event((100, 0.0, 0.0), (90, 0.1, 2.5), number=3, further=silent),
        event((600, 0.0, 0.0), (90, 0.1, 3.1), number=4, further=silent),
        event((100, 0.0, 0.0), (30, 0.1, 3.1), number=5, further=silent),
        event((100, 0.0, 0.0), number=6, further=silent),
    ]
    assert kept(converted(tmp_path, events, **config)) == [(1, 0)]


def test_conditions_without_names_are_named_by_themselves() -> None:
    assert named_conditions(None) == {}
    assert named_conditions("a >  1") == {"a > 1": "a >  1"}
    assert named_conditions(["a > 1", "b > 2"]) == {"a > 1": "a > 1", "b > 2": "b > 2"}
    assert named_conditions({"x": "a > 1"}) == {"x": "a > 1"}
