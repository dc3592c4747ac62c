"""Jets and their constituents after the conversion of a file."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cal_ratio_trainer.errors import InputFileError, MissingColumn
from cal_ratio_trainer.jets.labels import DataType
from cal_ratio_trainer.jets.schema import CONSTITUENTS
from cal_ratio_trainer.jets.table import Jets
from cal_ratio_trainer.ntuple.chunk import convert_chunk
from cal_ratio_trainer.ntuple.events import check_branches
from cal_ratio_trainer.ntuple.reading import opened
from cal_ratio_trainer.ntuple.request import JetSelection
from cal_ratio_trainer.ntuple.summary import (
    FAR_HLT_MATCHES,
    NO_CLUSTERS,
    NON_FINITE,
    NON_FINITE_JETS,
    NON_FINITE_WEIGHTS,
    OTHER_JET_INDEX,
    Tally,
)
from tests.factories.ntuples import Event, cluster, event, random_events, segment, track, write_ntuple
from tests.ntuple.slow_conversion import slow_conversion

SIGNAL: dict[str, Any] = {"llp_mH": 125.0, "llp_mS": 55.0}


def converted(
    path: Path,
    events: list[Event],
    data_type: str,
    chunk_events: int = 1000,
    splits: tuple[int, ...] = (),
    **options: Any,
) -> tuple[Jets, Tally]:
    """Writes events and converts them."""
    write_ntuple(path, events, splits=splits)
    selection = JetSelection(DataType(data_type), **options)
    tally = Tally(weighted=selection.data_type.is_simulation)
    with opened(str(path)) as ntuple:
        check_branches(str(path), selection, ntuple.branches)
        parts = []
        for entries in ntuple.chunks(chunk_events, ntuple.entries):
            parts.append(convert_chunk(ntuple, entries, selection, tally))
            ntuple.forget_older_pages()
    return Jets.concatenate(parts), tally


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32 - 1), data_type=st.sampled_from(["sig", "qcd", "bib", "data"]))
def test_the_jets_are_those_of_the_rules_applied_event_by_event(tmp_path: Path, seed: int, data_type: str) -> None:
    events = random_events(seed, 12)
    jets, _ = converted(tmp_path / "a.root", events, data_type, **(SIGNAL if data_type == "sig" else {}))
    expected = slow_conversion(events, DataType(data_type))
    assert jets["eventNumber"].tolist() == [jet.event_number for jet in expected]
    assert jets["jet_index"].tolist() == [jet.index for jet in expected]
    assert jets["mcEventWeight"].tolist() == [jet.weight for jet in expected]
    np.testing.assert_array_equal(jets["jet_pt"], np.array([jet.pt for jet in expected], dtype=np.float32))
    for position, name in enumerate(("llp_pt", "llp_eta", "llp_phi", "llp_Lxy", "llp_Lz")):
        truth = np.array([jet.llp_pt_eta_phi_lxy_lz[position] for jet in expected], dtype=np.float32)
        np.testing.assert_array_equal(jets[name], truth)
    for kind in CONSTITUENTS:
        ragged = jets.constituents[kind.name]
        assert ragged.lengths.tolist() == [len(jet.constituents[kind.name]) for jet in expected]
        rows = [row for jet in expected for row in jet.constituents[kind.name]]
        slow = np.array(rows, dtype=np.float64).reshape(-1, len(kind.features))
        np.testing.assert_allclose(ragged.values, slow, rtol=1e-6, atol=1e-12)


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    seed=st.integers(0, 2**32 - 1),
    splits=st.sets(st.integers(1, 14), max_size=8),
    chunk_events=st.integers(1, 16),
    data_type=st.sampled_from(["sig", "qcd", "bib"]),
)
def test_reading_in_chunks_gives_what_reading_at_once_gives(
    tmp_path: Path, seed: int, splits: set[int], chunk_events: int, data_type: str
) -> None:
    events = random_events(seed, 15)
    options: dict[str, Any] = {**(SIGNAL if data_type == "sig" else {}), "keep_branches": ("perEvent", "perJet")}
    whole, whole_tally = converted(tmp_path / "whole.root", events, data_type, **options)
    pieces, tally = converted(
        tmp_path / "pieces.root", events, data_type, chunk_events, tuple(sorted(splits)), **options
    )
    assert pieces.without_columns(["source_file"]).scalars.equals(whole.without_columns(["source_file"]).scalars)
    for kind in CONSTITUENTS:
        np.testing.assert_array_equal(pieces.constituents[kind.name].values, whole.constituents[kind.name].values)
        np.testing.assert_array_equal(pieces.constituents[kind.name].offsets, whole.constituents[kind.name].offsets)
    assert [(step.step, step.events, step.jets) for step in tally.cutflow()] == [
        (step.step, step.events, step.jets) for step in whole_tally.cutflow()
    ]
    assert tally.counts == whole_tally.counts


def test_a_jet_with_two_llps_comes_once_with_the_nearer(tmp_path: Path) -> None:
    far, near = (40.0, 0.3, 0.0, 2000.0, 0.0), (60.0, 0.1, 0.0, 2500.0, 0.0)
    jets, _ = converted(tmp_path / "a.root", [event((100, 0.0, 0.0), llps=[far, near])], "sig", **SIGNAL)
    assert len(jets) == 1
    assert jets["llp_pt"].tolist() == [60.0]
    assert jets["llp_mH"].tolist() == [125.0]
    assert jets["mcEventWeight"].tolist() == [1.0]


def test_an_llp_beyond_its_distance_or_outside_the_calorimeter_gives_no_jet(tmp_path: Path) -> None:
    outside, too_far = (40.0, 0.0, 0.0, 1100.0, 0.0), (60.0, 0.41, 0.0, 2500.0, 0.0)
    jets, tally = converted(tmp_path / "a.root", [event((100, 0.0, 0.0), llps=[outside, too_far])], "sig", **SIGNAL)
    assert len(jets) == 0
    assert [step.jets for step in tally.cutflow()] == [1, 1, 1, 1, 0, 0]


def test_an_llp_across_the_edge_of_phi_finds_its_jet(tmp_path: Path) -> None:
    llp = (40.0, 0.0, -3.1, 2000.0, 0.0)
    jets, _ = converted(tmp_path / "a.root", [event((100, 0.0, 3.1), (90, 0.0, 1.0), llps=[llp])], "sig", **SIGNAL)
    assert jets["jet_index"].tolist() == [0]


def test_a_jet_without_clusters_is_left_out_and_counted(tmp_path: Path) -> None:
    first = event((100, 0.0, 0.0), (80, 1.0, 1.0), clusters=[cluster(1)])
    jets, tally = converted(tmp_path / "a.root", [first, event((70, 0, 0), clusters=[])], "qcd")
    assert jets["jet_index"].tolist() == [1]
    assert tally.counts[NO_CLUSTERS] == 2
    assert any("2 jets were left out because they have no clusters" in note for note in tally.notes())
    assert [(step.events, step.jets) for step in tally.cutflow()] == [(2, 3), (2, 3), (2, 3), (1, 1)]


def test_a_far_trigger_jet_is_counted_and_dropped_on_request(tmp_path: Path) -> None:
    events = [
        event((100, 0.0, 0.0), trigger_jets=[(100, 0.1, 0.0, 1)], number=1),
        event((100, 0.0, 0.0), trigger_jets=[(100, 2.0, 0.0, 1)], number=2),
        event((100, 0.0, 0.0), trigger_jets=[(100, 0.0, 0.0, 0)], number=3),
    ]
    jets, tally = converted(tmp_path / "a.root", events, "bib")
    assert jets["eventNumber"].tolist() == [1, 2]
    assert tally.counts[FAR_HLT_MATCHES] == 1
    jets, tally = converted(tmp_path / "a.root", events, "bib", max_hlt_delta_r=0.4)
    assert jets["eventNumber"].tolist() == [1]
    assert tally.counts[FAR_HLT_MATCHES] == 0


def test_two_tagged_trigger_jets_on_one_jet_give_it_once(tmp_path: Path) -> None:
    trigger_jets = [(100, 0.1, 0.0, 1), (90, 0.2, 0.0, 1)]
    jets, _ = converted(tmp_path / "a.root", [event((100, 0.0, 0.0), trigger_jets=trigger_jets)], "bib")
    assert len(jets) == 1
    assert jets.label.tolist() == [2]


def test_a_track_of_no_jet_is_nobodys_and_a_segment_may_be_of_several(tmp_path: Path) -> None:
    one = event(
        (100, 0.5, 1.0),
        (80, -0.5, 2.0),
        (20, 0.0, 0.0),
        tracks=[track(-1), track(1, eta=-0.4, phi=2.1), track(2)],
        segments=[segment(0, 1, 2, etaPos=0.7, phiPos=1.5, etaDir=3.0, phiDir=1.25, t0=99999.0), segment(-1)],
    )
    jets, _ = converted(tmp_path / "a.root", [one], "qcd")
    assert jets.constituents["tracks"].lengths.tolist() == [0, 1]
    assert jets.constituents["muon_segments"].lengths.tolist() == [1, 1]
    np.testing.assert_allclose(jets.constituents["tracks"].values[0, :3], [1.0, 0.1, 0.1], rtol=1e-6)
    expected = [[0.2, 0.5, 3.0, 0.25, 0.0, 99999.0], [1.2, -0.5, 3.0, -0.75, 0.0, 99999.0]]
    np.testing.assert_allclose(jets.constituents["muon_segments"].values, expected, rtol=1e-6)


def test_angles_are_wrapped_across_the_edge_of_phi(tmp_path: Path) -> None:
    one = event(
        (100, 0.0, 3.0),
        clusters=[cluster(0, 2000, phi=3.1), cluster(0, 1000, phi=-3.1)],
        tracks=[track(0, phi=-3.0)],
        segments=[segment(0, phiPos=-3.0, phiDir=-2.0)],
    )
    jets, _ = converted(tmp_path / "a.root", [one], "qcd")
    np.testing.assert_allclose(jets.constituents["clusters"].values[:, 2], [0.0, 2 * math.pi - 6.2], rtol=1e-6)
    np.testing.assert_allclose(jets.constituents["tracks"].values[0, 2], 2 * math.pi - 6.0, rtol=1e-6)
    values = jets.constituents["muon_segments"].values
    np.testing.assert_allclose(values[0, [1, 3]], [2 * math.pi - 6.0, 2 * math.pi - 5.0], rtol=1e-6)


def test_small_angles_keep_their_precision(tmp_path: Path) -> None:
    # Stored in single precision before the subtraction, this difference would be off by a third.
    one = event((100, 0.0, 2.9999999), tracks=[track(0, phi=3.0)])
    jets, _ = converted(tmp_path / "a.root", [one], "qcd")
    np.testing.assert_allclose(jets.constituents["tracks"].values[0, 2], 3.0 - 2.9999999, rtol=1e-6)


def test_nn_jet_index_is_used_where_it_differs_and_said_so(tmp_path: Path) -> None:
    swapped = event((100, 0.0, 0.0), (80, 1.0, 1.0), clusters=[cluster(0, 500), cluster(1, 900)], jet_index=(1, 0))
    jets, tally = converted(tmp_path / "a.root", [swapped], "qcd")
    assert jets["jet_index"].tolist() == [0, 1]
    assert jets.constituents["clusters"].values[:, 0].tolist() == [900.0, 500.0]
    assert tally.counts[OTHER_JET_INDEX] == 1
    assert any("nn_jet_index differs" in note for note in tally.notes())


def test_a_jet_that_no_index_names_has_no_clusters(tmp_path: Path) -> None:
    unnamed = event((100, 0.0, 0.0), (80, 1.0, 1.0), jet_index=(-1, 1))
    jets, tally = converted(tmp_path / "a.root", [unnamed], "qcd")
    assert jets["jet_index"].tolist() == [1]
    assert tally.counts[NO_CLUSTERS] == 1


def test_values_that_are_no_numbers_are_kept_and_counted(tmp_path: Path) -> None:
    one = event((100, 0.0, 0.0), tracks=[track(0, d0=math.nan), track(0, z0=1e60), track(0)])
    jets, tally = converted(tmp_path / "a.root", [one], "qcd")
    assert tally.counts[NON_FINITE] == 2
    assert np.isnan(jets.constituents["tracks"].values).sum() == 1


def test_jets_and_weights_that_are_no_numbers_are_counted(tmp_path: Path) -> None:
    events = [event((math.nan, 0, 0), (90, 0, 0)), event((100, math.nan, 0), (80, 0, math.inf), weight=math.nan)]
    jets, tally = converted(tmp_path / "a.root", events, "qcd")
    assert jets["jet_pt"].tolist() == [90.0, 80.0]
    assert tally.counts[NON_FINITE_JETS] == 3
    assert tally.counts[NON_FINITE_WEIGHTS] == 1
    assert any(note.startswith("3 jets have a pt, eta or phi that is NaN") for note in tally.notes())


def test_further_branches_are_carried_through(tmp_path: Path) -> None:
    one = event((30, 0, 0), (80, 1.0, 1.0), (100, 0, 0), further={"mu": 31.5, "score": [0.1, 0.2, 0.3]})
    jets, _ = converted(tmp_path / "a.root", [one], "qcd", keep_branches=("score", "mu", "runNumber"))
    assert jets["score"].tolist() == [0.3, 0.2]
    assert jets["mu"].tolist() == [31.5, 31.5]


def test_a_branch_that_is_neither_of_events_nor_of_jets_cannot_be_carried(tmp_path: Path) -> None:
    one = event((100, 0.0, 0.0), clusters=[cluster(0), cluster(0)])
    with pytest.raises(InputFileError, match="clus_pt of keep_branches"):
        converted(tmp_path / "a.root", [one], "qcd", keep_branches=("clus_pt",))


def test_a_further_branch_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingColumn, match=r"jet_pt \(did you mean jet_pT\?\)"):
        converted(tmp_path / "a.root", [event((100, 0, 0))], "qcd", keep_branches=("jet_pt",))


def test_each_jet_knows_where_it_comes_from(tmp_path: Path) -> None:
    events = [event((30, 0, 0), number=5), event((50, 0, 0), (90, 0, 0), number=6)]
    jets, _ = converted(tmp_path / "a.root", events, "data", splits=(1,), chunk_events=1)
    assert jets.scalars.column("source_file").to_pylist() == [str(tmp_path / "a.root")] * 2
    assert jets["source_entry"].tolist() == [1, 1]
    assert jets["jet_index"].tolist() == [1, 0]
    assert jets["runNumber"].tolist() == [284500, 284500]
    assert jets["eventNumber"].tolist() == [6, 6]
    assert jets["mcChannelNumber"].tolist() == [361020, 361020]


def test_simulation_taken_for_data_is_said(tmp_path: Path) -> None:
    jets, tally = converted(tmp_path / "a.root", [event((100, 0, 0), weight=0.25)], "data")
    assert jets["mcEventWeight"].tolist() == [1.0]
    assert any("this is simulation" in note for note in tally.notes())


def test_weights_of_the_cutflow_are_those_of_the_events_that_are_left(tmp_path: Path) -> None:
    events = [event((100, 0, 0), (90, 0, 0), weight=0.5), event((30, 0, 0), weight=2.0)]
    _, tally = converted(tmp_path / "a.root", events, "qcd")
    assert [step.sum_of_weights for step in tally.cutflow()] == [2.5, 0.5, 0.5, 0.5]
    normalisation = tally.normalisation({})
    assert normalisation.sum_of_weights_read == 2.5
    assert normalisation.sum_of_weights_squared_read == 4.25


def test_lists_of_different_lengths_are_refused(tmp_path: Path) -> None:
    one = event((100, 0.0, 0.0), jet_index=(0, 1))
    with pytest.raises(InputFileError, match="nn_jet_index hold lists of different lengths"):
        converted(tmp_path / "a.root", [one], "qcd")


@pytest.mark.parametrize("index", [(2**31 - 1, 1), (0, 2), (-5, 1)])
def test_an_index_that_no_jet_of_the_event_can_have_is_refused(tmp_path: Path, index: tuple[int, int]) -> None:
    wrong = event((100, 0.0, 0.0), (80, 1.0, 1.0), jet_index=index)
    events = [event((100, 0.0, 0.0)), wrong]
    with pytest.raises(InputFileError, match=r"nn_jet_index holds .* in entry 1, expected an index below 2"):
        converted(tmp_path / "a.root", events, "qcd")


def test_two_jets_of_one_index_are_refused(tmp_path: Path) -> None:
    one = event((100, 0.0, 0.0), (80, 1.0, 1.0), jet_index=(1, 1))
    with pytest.raises(InputFileError, match="nn_jet_index gives two jets of entry 0 the same index"):
        converted(tmp_path / "a.root", [one], "qcd")


def test_constituents_of_jets_that_the_event_does_not_have_are_counted_and_go_to_none(tmp_path: Path) -> None:
    one = event(
        (100, 0.0, 0.0),
        clusters=[cluster(0), cluster(1), cluster(2**31 - 1)],
        tracks=[track(0), track(-1), track(1), track(-2)],
        segments=[segment(0), segment(0, 7)],
    )
    jets, tally = converted(tmp_path / "a.root", [one, event((90, 0.0, 0.0))], "qcd")
    assert {name: ragged.lengths.tolist() for name, ragged in jets.constituents.items()} == {
        "clusters": [1, 1],
        "tracks": [1, 0],
        "muon_segments": [2, 0],
    }
    assert any(note.startswith("5 jet indices of clusters, tracks or segments") for note in tally.notes())


@pytest.mark.parametrize(
    ("branch", "values", "said"),
    [
        ("eventNumber", np.array([3.0e9], dtype=np.float32), "eventNumber holds 3000000000.0 as float32"),
        ("runNumber", np.array([284500.5]), "runNumber holds 284500.5 as float64"),
        ("runNumber", np.array([-1], dtype=np.int32), "expected whole numbers from 0 to 4294967295"),
    ],
)
def test_numbers_of_events_that_are_rounded_or_none_are_refused(
    tmp_path: Path, branch: str, values: Any, said: str
) -> None:
    one = event((100, 0.0, 0.0), further={branch: values[0]})
    with pytest.raises(InputFileError, match=said):
        converted(tmp_path / "a.root", [one], "qcd")


def test_a_number_of_an_event_that_a_float_holds_exactly_is_kept(tmp_path: Path) -> None:
    one = event((100, 0.0, 0.0), further={"eventNumber": np.float32(16777215)})
    jets, _ = converted(tmp_path / "a.root", [one], "qcd")
    assert jets["eventNumber"].tolist() == [16777215]
