"""Slices of pt: together they give one falling spectrum, and their weights keep a large effective number of jets."""

import numpy as np
import pytest
import yaml

from cal_ratio_trainer.jets.labels import DataType
from cal_ratio_trainer.simulation import DemoSummary
from cal_ratio_trainer.simulation.draws import parameters
from cal_ratio_trainer.simulation.multijet import multijet_events
from cal_ratio_trainer.simulation.samples import all_samples, cross_section_pb


def test_normalised_slices_add_up_to_one_falling_power_law() -> None:
    """cross section * filter efficiency / initial events, slice by slice, gives a continuous spectrum."""
    numbers = parameters("slices")
    pts, weights = [], []
    for sample in all_samples(20_000, 1):
        if sample.name.startswith("qcd"):
            (each,) = sample.slices
            draft = multijet_events(np.random.default_rng(sample.number), 40_000, (each.low, each.high))
            leading = np.maximum.reduceat(draft.jets["pt"], np.cumsum(draft.counts) - draft.counts)
            section, efficiency = cross_section_pb(sample)
            pts.append(leading)
            weights.append(np.full(len(leading), section * efficiency / draft.tried))
    edges = np.geomspace(50, 400, 16)
    density = np.histogram(np.concatenate(pts), edges, weights=np.concatenate(weights))[0] / np.diff(edges)
    expected = numbers["pb_per_GeV_at_100_GeV"] * (np.sqrt(edges[1:] * edges[:-1]) / 100) ** -numbers["power"]
    assert np.all(np.diff(density) < 0)
    assert density[0] / density[-1] > 1e4
    # The jet resolution of 10 % raises a steep spectrum by a constant factor; boundaries of slices may not be visible.
    ratio = density / expected
    assert np.all(np.abs(ratio / np.median(ratio) - 1) < 0.15)


def test_file_weights_keep_a_good_part_of_the_qcd_jets_worth() -> None:
    samples = [sample for sample in all_samples(20_000, 1) if sample.name.startswith("qcd")]
    jets = np.array([sample.jets for sample in samples])
    weight = np.array([sample.weight for sample in samples], float)
    effective = (jets * weight).sum() ** 2 / (jets * weight**2).sum()
    assert 0.3 < effective / jets.sum() < 0.7
    assert weight.max() / weight.min() > 5


def test_control_data_have_the_spectrum_of_the_weighted_control_simulation() -> None:
    samples = all_samples(1, 50_000)
    simulation = [sample for sample in samples if sample.name.startswith("control_mc")]
    (data,) = (sample for sample in samples if sample.data_type is DataType.DATA)
    weighted = np.array([sample.jets * (sample.weight or 0.0) for sample in simulation])
    np.testing.assert_allclose([each.jets / data.jets for each in data.slices], weighted / weighted.sum(), atol=1e-4)


def test_pieces_of_a_sample_add_up_to_it() -> None:
    for sample in all_samples(123_456, 54_321):
        pieces = sample.files()
        assert sum(piece.jets for piece in pieces) == sample.jets
        assert all(piece.jets <= parameters("samples")["jets_a_file"] + 6 for piece in pieces)
        for i, each in enumerate(sample.slices):
            assert sum(piece.slices[i].jets for piece in pieces) == each.jets


def test_table_of_samples_allows_the_normalisation(demo: DemoSummary) -> None:
    table = yaml.safe_load(demo.samples_table.read_text("utf-8"))
    assert "not a detector simulation" in table["simulation"]
    rows = {row["name"]: row for row in table["samples"]}
    assert len(rows) == 19 + 6 + 1 + 6 + 1
    products = [rows[f"qcd_JZ{i}"]["cross_section_pb"] * rows[f"qcd_JZ{i}"]["filter_efficiency"] for i in range(1, 7)]
    assert products == sorted(products, reverse=True)
    assert products[0] / products[-1] > 1e3
    assert rows["qcd_JZ3"]["jets_kept_by_convert"] == pytest.approx(0.13 * 400, abs=1)
