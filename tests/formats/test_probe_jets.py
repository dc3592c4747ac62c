"""Jets on which network files are tested."""

import numpy as np
import pytest

from cal_ratio_trainer.building.scaling import scale
from cal_ratio_trainer.formats.probe_jets import Filling, drawn_jets, probes_of
from cal_ratio_trainer.jets import CONSTITUENTS, Jets
from cal_ratio_trainer.jets.cleaning import is_built
from cal_ratio_trainer.jets.metadata import JetMetadata, Scaling
from tests.factories.jets import synthetic_jets


def built_jets() -> Jets:
    """Jets that differ from the random ones; some have no tracks or segments."""
    return synthetic_jets(np.arange(50) % 3, seed=1)


@pytest.mark.parametrize("jets", [drawn_jets(50), built_jets()], ids=["drawn", "built"])
def test_every_jet_comes_without_constituents_with_one_as_it_is_and_with_all_slots_filled(jets: Jets) -> None:
    probes, fillings = probes_of(jets, 20)
    assert np.bincount(fillings).tolist() == [20] * len(Filling)
    by_filling = {filling: probes.where(fillings == i) for i, filling in enumerate(Filling)}
    for kind in CONSTITUENTS:
        own = by_filling[Filling.SOME].constituents[kind.name]
        lengths = {filling: part.constituents[kind.name].lengths for filling, part in by_filling.items()}
        assert not lengths[Filling.NONE].any()
        np.testing.assert_array_equal(lengths[Filling.ONE], np.minimum(own.lengths, 1))
        assert (lengths[Filling.ALL] == kind.limit).all()
        full = by_filling[Filling.ALL].constituents[kind.name]
        for jet in range(20):
            mine = own.values[own.offsets[jet] : own.offsets[jet + 1]]
            np.testing.assert_array_equal(full.values[jet * kind.limit : jet * kind.limit + len(mine)], mine)


def test_probes_are_taken_from_the_whole_of_a_file_and_there_may_be_fewer_than_wanted() -> None:
    jets = drawn_jets(50)
    probes, _ = probes_of(jets, 5)
    np.testing.assert_array_equal(probes["jet_pt"][:5], jets["jet_pt"][[0, 12, 24, 36, 49]])
    assert len(probes_of(jets.slice(0, 3), 100)[0]) == 3 * len(Filling)


def test_drawn_jets_are_always_the_same_and_look_like_converted_ones() -> None:
    jets = drawn_jets(200)
    for kind in CONSTITUENTS:
        ragged = jets.constituents[kind.name]
        np.testing.assert_array_equal(ragged.values, drawn_jets(200).constituents[kind.name].values)
        assert 1 <= ragged.lengths.min() < ragged.lengths.max() <= kind.limit
    assert not is_built(JetMetadata(stage="unknown"), jets)
    assert is_built(JetMetadata(stage="unknown"), scale(jets, Scaling(min_jet_pt=0, max_jet_pt=500)).jets)


def test_clusters_and_tracks_of_drawn_jets_come_with_the_highest_pt_first() -> None:
    jets = drawn_jets(20)
    for name in ("clusters", "tracks"):
        ragged = jets.constituents[name]
        same_jet = np.diff(ragged.owners()) == 0
        assert (np.diff(ragged.values[:, 0])[same_jet] <= 0).all()
