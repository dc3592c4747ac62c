"""Exact numbers of requested jets."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cal_ratio_trainer.jets.labels import DataType
from cal_ratio_trainer.simulation.bib import bib_events, kept_in_bib
from cal_ratio_trainer.simulation.draws import Generator
from cal_ratio_trainer.simulation.events import EventDraft, events_with
from cal_ratio_trainer.simulation.multijet import kept_in_multijets, multijet_events
from cal_ratio_trainer.simulation.samples import DemoSample, Slice, shared
from cal_ratio_trainer.simulation.signal import MassPoint

SAMPLES = {
    "multijets": DemoSample("multijets", 1, DataType.QCD, "main", 1, slices=(Slice(200, 300, 1),)),
    "signal": DemoSample("signal", 2, DataType.SIGNAL, "main", 1, point=MassPoint(60, 5, 0.217)),
    "bib": DemoSample("bib", 3, DataType.BIB, "main", 1),
}


@pytest.mark.parametrize("name", SAMPLES)
@settings(max_examples=10, deadline=None)
@given(jets=st.integers(1, 300), seed=st.integers(0, 99))
def test_events_hold_exactly_the_jets_asked_for(name: str, jets: int, seed: int) -> None:
    ((draw, kept_in, _),) = SAMPLES[name].sources()
    draft = events_with(np.random.default_rng(seed), draw, kept_in, jets)
    assert int(kept_in(draft).sum()) == jets


def test_a_tenth_of_the_events_holds_no_jet_that_is_kept() -> None:
    draft = events_with(np.random.default_rng(1), bib_events, kept_in_bib, 2000)
    assert np.mean(kept_in_bib(draft) == 0) == pytest.approx(0.1, abs=0.01)


def test_tried_events_follow_the_acceptance() -> None:
    ((draw, kept_in, _),) = SAMPLES["signal"].sources()
    few = events_with(np.random.default_rng(1), draw, kept_in, 500)
    many = events_with(np.random.default_rng(2), draw, kept_in, 5000)
    assert many.tried / few.tried == pytest.approx(10, rel=0.2)


def test_a_source_that_never_gives_a_jet_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cal_ratio_trainer.simulation.events._MAX_BATCHES", 3)

    def soft(random: Generator, size: int) -> EventDraft:
        return multijet_events(random, min(size, 50), (5.0, 8.0))

    with pytest.raises(RuntimeError, match="3 batches of events did not give 5 jets"):
        events_with(np.random.default_rng(1), soft, kept_in_multijets, 5)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.lists(st.floats(0.01, 10), min_size=1, max_size=30))
def test_shares_are_whole_numbers_that_add_up_and_miss_the_exact_ones_by_less_than_one(
    total: int, shares: list[float]
) -> None:
    whole = shared(total, shares)
    exact = np.asarray(shares) / sum(shares) * total
    assert sum(whole) == total
    assert np.all(np.abs(np.asarray(whole) - exact) < 1)
