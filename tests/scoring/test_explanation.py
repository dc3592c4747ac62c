"""A single wrong input is named; an unknown cause is not."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from cal_ratio_trainer.config.scoring import ScoreSettings
from cal_ratio_trainer.jets import CONSTITUENTS, Constituent, Jets
from cal_ratio_trainer.jets.schema import CLUSTERS, MUON_SEGMENTS, TRACKS
from cal_ratio_trainer.scoring.explanation import Explanation, explain
from cal_ratio_trainer.scoring.scorer import Scorer, find_scorer
from cal_ratio_trainer.scoring.streams import JetBatch, converted_batch
from cal_ratio_trainer.scoring.variations import ExplainedJets, variations
from tests.factories.files import SCALING
from tests.factories.jets import mixed_jets
from tests.factories.networks import write_network

JETS = 60


@pytest.fixture(scope="module")
def scorer(tmp_path_factory: pytest.TempPathFactory) -> Scorer:
    """A network that reads jets scaled with 0 to 500 GeV."""
    file = write_network(tmp_path_factory.mktemp("network") / "small.keras")
    return find_scorer(str(file), ScoreSettings.make(threads=1))


@pytest.fixture(scope="module")
def batch() -> JetBatch:
    """Some jets, converted and scaled."""
    return converted_batch(mixed_jets(JETS), SCALING)


Change = Callable[[np.ndarray], None]


def broken(batch: JetBatch, kind: Constituent, change: Change) -> Jets:
    """The scaled jets with one kind of constituent changed in place."""
    ragged = batch.jets.constituents[kind.name]
    values = ragged.values.copy()
    change(values)
    return Jets(batch.jets.scalars, {**batch.jets.constituents, kind.name: ragged.with_values(values)})


def explained(scorer: Scorer, batch: JetBatch, jets: Jets) -> Explanation:
    """Explanation if another program read `jets` instead of those of the batch."""
    return explain(scorer, [batch], scorer.scores(jets), labelled=True)


def z0_in_mm(values: np.ndarray) -> None:
    values[:, TRACKS.position("z0")] *= 250


def layers_swapped(values: np.ndarray) -> None:
    one, other = CLUSTERS.position("l4ecal"), CLUSTERS.position("l4hcal")
    values[:, [one, other]] = values[:, [other, one]]


def without_time(values: np.ndarray) -> None:
    values[:, CLUSTERS.position("time")] = 0


def phi_turned(values: np.ndarray) -> None:
    values[:, MUON_SEGMENTS.position("phiDir")] *= -1


@pytest.mark.parametrize(
    ("kind", "change", "name"),
    [
        (TRACKS, z0_in_mm, "track z0 is not divided by 250 mm"),
        (CLUSTERS, layers_swapped, "cluster l4ecal and l4hcal are swapped"),
        (CLUSTERS, without_time, "cluster time is missing (0)"),
        (MUON_SEGMENTS, phi_turned, "muon segment phiDir has the opposite sign"),
    ],
)
def test_the_one_input_that_differs_is_named(
    scorer: Scorer, batch: JetBatch, kind: Constituent, change: Change, name: str
) -> None:
    found = explained(scorer, batch, broken(batch, kind, change))
    assert not found.unchanged.agrees
    assert found.best[0].name == name
    assert found.best[0].agrees
    assert not found.best[1].agrees
    (sentence,) = found.sentences()
    assert sentence.startswith(f"Hypothesis: {name}.")
    assert "only rounding is left" in sentence


def test_eta_that_was_not_turned_is_named_where_the_jets_before_scaling_are_known(
    scorer: Scorer, batch: JetBatch
) -> None:
    assert batch.converted is not None
    original = batch.converted.constituents["clusters"].values[:, CLUSTERS.position("eta")]

    def not_turned(values: np.ndarray) -> None:
        values[:, CLUSTERS.position("eta")] = original

    jets = broken(batch, CLUSTERS, not_turned)
    found = explained(scorer, batch, jets)
    assert found.best[0].name == "cluster eta is not turned to one side"
    assert found.best[0].agrees
    built_only = JetBatch(batch.jets, batch.jet_pt_gev, None, batch.cleaning)
    without = explained(scorer, built_only, jets)
    assert without.skipped > found.skipped
    assert not without.best[0].agrees


def test_lists_in_the_opposite_order_are_named(scorer: Scorer, batch: JetBatch) -> None:
    ragged = batch.jets.constituents["tracks"]
    values = np.concatenate(
        [ragged.values[a:b][::-1] for a, b in zip(ragged.offsets, ragged.offsets[1:], strict=False)]
    )
    lists = {**batch.jets.constituents, "tracks": ragged.with_values(values)}
    found = explained(scorer, batch, Jets(batch.jets.scalars, lists))
    assert found.best[0].name == "tracks come in the opposite order"
    assert found.best[0].agrees


def test_two_changes_at_once_are_named_together(scorer: Scorer, batch: JetBatch) -> None:
    first = broken(batch, CLUSTERS, without_time)
    ragged = first.constituents["tracks"]
    values = ragged.values.copy()
    z0_in_mm(values)
    both = Jets(first.scalars, {**first.constituents, "tracks": ragged.with_values(values)})
    found = explained(scorer, batch, both)
    assert not found.best[0].agrees
    assert found.pairs[0].agrees
    assert "With these two changes" in found.sentences()[0]
    assert {"cluster time is missing (0)", "track z0 is not divided by 250 mm"} == set(
        found.pairs[0].name.split(", and ")
    )


def test_scores_that_agree_are_left_alone(scorer: Scorer, batch: JetBatch) -> None:
    noise = np.random.default_rng(1).uniform(-1e-6, 1e-6, (JETS, 3)).astype(np.float32)
    found = explain(scorer, [batch], scorer.scores(batch.jets) + noise, labelled=True)
    assert found.tried == 0
    assert found.sentences()[0].startswith("The scores agree")


def test_another_order_of_jets_is_said(scorer: Scorer, batch: JetBatch) -> None:
    found = explain(scorer, [batch], scorer.scores(batch.jets)[::-1], labelled=True)
    assert found.same_values
    assert "jets are ordered differently" in found.sentences()[0]


def test_outputs_in_another_order_are_said(scorer: Scorer, batch: JetBatch) -> None:
    found = explain(scorer, [batch], scorer.scores(batch.jets)[:, [1, 0, 2]], labelled=True)
    assert found.best[0].name == "the outputs are in the order signal, QCD, BIB"
    assert found.best[0].agrees


def test_another_network_is_no_change_of_the_inputs(scorer: Scorer, batch: JetBatch, tmp_path: Path) -> None:
    other = find_scorer(str(write_network(tmp_path / "other.keras", seed=7)), ScoreSettings.make())
    found = explain(scorer, [batch], other.scores(batch.jets), labelled=True)
    assert found.sentences()[0].startswith("No single change")


def test_every_change_has_a_name_of_its_own_and_changes_something_or_says_that_it_cannot(batch: JetBatch) -> None:
    jets = ExplainedJets(batch.jets, batch.converted, SCALING)
    names, without_effect = [], []
    for variation in variations(batch.jets.schema):
        names.append(variation.name)
        changed = variation.apply(jets)
        if changed is None or variation.outputs is not None:
            continue
        same_lists = all(
            np.array_equal(changed.constituents[kind.name].values, batch.jets.constituents[kind.name].values)
            and np.array_equal(changed.constituents[kind.name].offsets, batch.jets.constituents[kind.name].offsets)
            for kind in CONSTITUENTS
        )
        if same_lists and changed.scalars.equals(batch.jets.scalars):
            without_effect.append(variation.name)
    assert len(names) == len(set(names)) > 300
    # Such a change has no effect on these jets: pt, fractions and time are positive already.
    assert all("absolute value" in name for name in without_effect), without_effect
