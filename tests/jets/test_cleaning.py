"""Cleaning of loaded jets before a training."""

import numpy as np
import pytest

from cal_ratio_trainer.jets import Jets
from cal_ratio_trainer.jets.cleaning import clean_for_training, is_built
from cal_ratio_trainer.jets.metadata import JetMetadata
from cal_ratio_trainer.jets.schema import CLUSTERS, TRACKS
from tests.factories.jets import converted_jets, converted_metadata

UNKNOWN = JetMetadata(stage="unknown")


def with_values(jets: Jets, kind: str, changes: dict[tuple[int, int], float]) -> Jets:
    """Jets with single constituent values replaced."""
    values = jets.constituents[kind].values.copy()
    for place, value in changes.items():
        values[place] = value
    return Jets(jets.scalars, {**jets.constituents, kind: jets.constituents[kind].with_values(values)})


def test_infinite_and_nan_inputs_become_zero_and_are_counted_by_column() -> None:
    time, d0 = CLUSTERS.position("time"), TRACKS.position("d0")
    jets = with_values(converted_jets(20), "clusters", {(0, time): np.inf, (3, time): -np.inf, (5, 0): np.nan})
    jets = with_values(jets, "tracks", {(1, d0): np.nan}).with_columns({"jet_pt": np.full(20, np.nan)})
    cleaned, report = clean_for_training(jets)
    assert report.non_finite == {"jet_pt": 20, "clus_pt": 1, "clus_time": 2, "track_d0": 1}
    assert np.all(cleaned["jet_pt"] == 0)
    for kind in ("clusters", "tracks"):
        bad = ~np.isfinite(jets.constituents[kind].values)
        assert np.all(cleaned.constituents[kind].values[bad] == 0)
        np.testing.assert_array_equal(cleaned.constituents[kind].values[~bad], jets.constituents[kind].values[~bad])
    assert "2 NaN or infinite values of clus_time became 0" in report.sentences()
    assert np.isinf(jets.constituents["clusters"].values).sum() == 2, "the jets given must not change"


def test_columns_that_the_network_does_not_read_are_left_alone() -> None:
    jets = with_values(converted_jets(20), "tracks", {(0, TRACKS.position("PixelHits")): np.nan})
    cleaned, report = clean_for_training(jets)
    assert report.non_finite == {}
    assert cleaned.constituents["tracks"] is jets.constituents["tracks"]


def test_angles_beyond_pi_are_counted_and_stay() -> None:
    jets = converted_jets(4)
    quiet = {name: ragged.with_values(ragged.values * 0) for name, ragged in jets.constituents.items()}
    phi = CLUSTERS.position("phi")
    jets = with_values(Jets(jets.scalars, quiet), "clusters", {(0, phi): 4.0, (1, phi): -3.2, (2, phi): np.pi})
    cleaned, report = clean_for_training(jets)
    assert report.beyond_pi == {"clus_phi": 2}
    assert cleaned.constituents["clusters"].values[0, phi] == 4


def test_weights_that_are_not_finite_are_counted_and_stay() -> None:
    jets = converted_jets(3, mcEventWeight=np.array([1.0, np.nan, np.inf]))
    cleaned, report = clean_for_training(jets)
    assert report.non_finite_weights == 2
    np.testing.assert_array_equal(cleaned["mcEventWeight"], [1, np.nan, np.inf])
    assert clean_for_training(jets.without_columns(["mcEventWeight"]))[1].non_finite_weights == 0


def test_metadata_decide_whether_jets_are_built() -> None:
    jets = converted_jets(3)
    assert is_built(JetMetadata(stage="built"), jets)
    assert not is_built(converted_metadata(), jets.with_columns({"jet_pt": np.full(3, 0.1)}))


def test_jets_of_an_unknown_frame_are_judged_by_their_values() -> None:
    jets = converted_jets(30)
    assert not is_built(UNKNOWN, jets)
    assert is_built(UNKNOWN, jets.with_columns({"jet_pt": jets["jet_pt"] / 500}))
    layers = slice(3, 11)
    values = jets.constituents["clusters"].values.copy()
    values[:, layers] /= values[:, layers].sum(axis=1, keepdims=True)
    fractions = {**jets.constituents, "clusters": jets.constituents["clusters"].with_values(values)}
    assert is_built(UNKNOWN, Jets(jets.scalars, fractions))
    assert not is_built(UNKNOWN, jets.slice(0, 0))


@pytest.mark.parametrize("count", [0, 1])
def test_few_jets_are_cleaned_too(count: int) -> None:
    cleaned, report = clean_for_training(converted_jets(count))
    assert len(cleaned) == count
    assert report.non_finite == {}
