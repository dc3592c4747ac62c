"""Mass and width of a jet's clusters, working points at a signal efficiency, and the shape of QCD that passes."""

import dataclasses
import math

import numpy as np
import pytest

from cal_ratio_trainer.evaluation.sculpting import (
    cluster_mass_and_width,
    cut_at_efficiency,
    sculpting,
    with_clusters,
)
from cal_ratio_trainer.jets import Jets, Label, Ragged
from cal_ratio_trainer.jets.metadata import Scaling
from cal_ratio_trainer.plotting import DEMO, Drawing
from cal_ratio_trainer.plotting.sculpting import sculpting_drawings
from tests.factories.jets import synthetic_jets
from tests.factories.scored_jets import plausible_jets

SCALING = Scaling(min_jet_pt=40, max_jet_pt=300)


def jets_with(clusters: list[list[tuple[float, float, float]]]) -> Jets:
    """Built jets whose clusters have the given (pt [GeV], eta, phi)."""
    jets = synthetic_jets(np.zeros(len(clusters), dtype=np.int8), 1)
    kind = jets.schema.kind("clusters")
    shift, unit = SCALING.shift_and_unit(kind.features[kind.position("pt")])
    values = np.zeros((sum(map(len, clusters)), len(kind.features)), np.float32)
    for row, (pt, eta, phi) in enumerate(each for jet in clusters for each in jet):
        values[row, kind.position("pt")] = (1000 * pt - shift) / unit
        values[row, kind.position("eta")], values[row, kind.position("phi")] = eta, phi
    offsets = np.cumsum([0, *map(len, clusters)]).astype(np.int64)
    ragged = Ragged(values, offsets, jets.constituents["clusters"].padding)
    return dataclasses.replace(jets, constituents={**jets.constituents, "clusters": ragged})


def test_the_mass_of_two_clusters_is_that_of_the_formula_wherever_they_are() -> None:
    pair = [(50.0, 0.0, 0.0), (20.0, 0.3, -0.2)]
    turned = [(pt, 0.7 - eta, phi + 0.4) for pt, eta, phi in pair]
    found = cluster_mass_and_width(jets_with([pair, turned, pair[:1], []]), SCALING)
    assert found is not None
    mass, width = found
    expected = math.sqrt(2 * 50 * 20 * (math.cosh(0.3) - math.cos(0.2)))
    assert mass == pytest.approx([expected, expected, 0, 0], rel=1e-4)
    # Each is away from their centre by the other's share of the distance.
    assert width[:2] == pytest.approx([2 * 50 * 20 / 70**2 * math.hypot(0.3, 0.2)] * 2, rel=1e-2)
    assert width[2:].tolist() == [0, 0]


def test_the_cut_at_an_efficiency_lets_that_share_pass_and_no_less() -> None:
    scores = np.arange(10, dtype=np.float32) / 10
    for efficiency, passing in ((0.9, 9), (0.8, 8), (0.75, 8), (1.0, 10)):
        assert np.count_nonzero(scores > cut_at_efficiency(scores, efficiency)) == passing
    equal = np.full(5, 1.0, np.float32)
    assert np.count_nonzero(equal > cut_at_efficiency(equal, 0.8)) == 5
    assert math.isnan(cut_at_efficiency(scores[:0], 0.9))


def test_qcd_that_passes_by_its_mass_has_another_shape_and_by_chance_the_same() -> None:
    random, jets = np.random.default_rng(1), plausible_jets(6000)
    mass = random.uniform(0, 60, len(jets))
    scored = with_clusters(jets, (mass, random.uniform(0, 0.4, len(jets))))
    (at_90, at_80) = sculpting(scored)
    assert (at_90.efficiency, at_80.efficiency) == (0.9, 0.8)
    assert at_90.qcd.value > at_80.qcd.value > 0
    assert abs(at_90.shapes["cluster_mass"].excess) < 3
    assert abs(at_90.shapes["cluster_width"].excess) < 3
    signal = next(each for each in at_90.dependences if (each.quantity, each.label) == ("mH", Label.SIGNAL))
    assert signal.passed.sum() / signal.total.sum() == pytest.approx(0.9, abs=0.01)
    assert len(signal.total) == len(jets.higgs_masses)
    # The signal output now follows the mass.
    scores = jets.scores.copy()
    scores[:, Label.SIGNAL] = mass / 60
    (sculpted, _) = sculpting(dataclasses.replace(scored, scores=scores))
    assert sculpted.shapes["cluster_mass"].excess > 20
    assert abs(sculpted.shapes["cluster_width"].excess) < 3


def test_each_quantity_has_a_figure_for_each_working_point(tmp_path) -> None:  # type: ignore[no-untyped-def]
    random, jets = np.random.default_rng(1), plausible_jets(600)
    points = sculpting(with_clusters(jets, (random.uniform(0, 60, 600), random.uniform(0, 0.4, 600))))
    drawings = sculpting_drawings({"none/0": points, "distance/0": points})
    names = {each.name for each in drawings}
    for quantity in ("pt", "cluster_mass", "cluster_width", "mH", "Lxy", "Lz"):
        assert {f"sculpting_{quantity}_90", f"sculpting_{quantity}_80"} <= names
    by_name: dict[str, Drawing] = {each.name: each for each in drawings}
    for name, caption in (
        ("sculpting_cluster_mass_90", "mistag of QCD and efficiency of signal against mass of the clusters at 90 %"),
        ("sculpting_mH_80", "efficiency of signal against mH at 80 %"),
    ):
        assert caption in by_name[name].caption
        (file,) = by_name[name].write(tmp_path, DEMO)
        assert file.stat().st_size > 5000
