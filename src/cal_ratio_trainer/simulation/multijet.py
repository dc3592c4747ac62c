"""Multijet events in slices of the leading jet's true pt, and the constituents of multijets.

Data differ from simulation by shifts (`data_minus_mc` of the parameters), which `mismodelling` multiplies: 0 for
simulation, 1 for data as they were measured.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cal_ratio_trainer.simulation import draws, muon_segments
from cal_ratio_trainer.simulation.clusters import ClusterRecipe, Draft, draft, out_of_time, times, types
from cal_ratio_trainer.simulation.draws import FloatArray, Generator, IntArray, parameters
from cal_ratio_trainer.simulation.events import (
    MULTIJET,
    EventDraft,
    JetColumn,
    from_columns,
    is_selected,
    no_decays,
)
from cal_ratio_trainer.simulation.layers import LAYERS, Energies, noisy_energies, ordinary_shares, shower_shares
from cal_ratio_trainer.simulation.lists import Axes, Constituents, Lists
from cal_ratio_trainer.simulation.muon_segments import SegmentRecipe
from cal_ratio_trainer.simulation.tracks import TrackRecipe, multijet_primaries, tracks


def multijet_events(random: Generator, size: int, pt_range: tuple[float, float]) -> EventDraft:
    """Two jets back to back and perhaps a third; the true pt of the leading one falls by a power law in the slice."""
    numbers = parameters("multijet_event")
    truth = draws.power_law(random, *pt_range, parameters("slices")["power"], size)
    eta, phi = _eta(random, size), draws.angle(random, size)
    balance = 1 - np.minimum(np.abs(numbers["second_imbalance"] * draws.normal(random, size)), 0.7)
    second_eta = eta + numbers["second_delta_eta"] * draws.normal(random, size)
    second_phi = draws.wrap(phi + np.float32(np.pi) + numbers["second_delta_phi"] * draws.normal(random, size))
    limit = numbers["eta_maximum"]
    third = draws.uniform(random, size, *numbers["third_fraction"]) * truth
    there = np.ones(size, bool)
    has_third = draws.uniform(random, size) < numbers["third_probability"]
    jets = [
        (truth, eta, phi, there),
        (truth * balance, np.clip(second_eta, -limit, limit), second_phi, there),
        (third, _eta(random, size), draws.angle(random, size), has_third),
    ]
    return from_columns([_measured(random, *jet) for jet in jets], {}, float(size))


def kept_in_multijets(draft: EventDraft) -> IntArray:
    """Number of jets of each event that convert keeps as QCD or data, [events]."""
    return np.bincount(draft.event[is_selected(draft.axes)], minlength=len(draft))


def extra_jet(random: Generator, size: int) -> JetColumn:
    """A further multijet beside what an event is about; some events have it."""
    numbers = parameters("extra_jet")
    pt = numbers["pt_minimum"] + numbers["pt_scale"] * draws.exponential(random, size)
    axes = Axes(pt.astype(np.float32), _eta(random, size), draws.angle(random, size))
    there = draws.uniform(random, size) < numbers["probability"]
    return axes, np.full(size, MULTIJET, np.int8), no_decays(size), there


def _measured(
    random: Generator, truth: FloatArray, eta: FloatArray, phi: FloatArray, there: NDArray[np.bool_]
) -> JetColumn:
    smear = 1 + np.float32(parameters("multijet_event")["smear"]) * draws.normal(random, len(truth))
    pt = np.maximum(truth * smear, np.float32(5)).astype(np.float32)
    maker = np.full(len(pt), MULTIJET, np.int8)
    return Axes(pt, eta.astype(np.float32), phi.astype(np.float32)), maker, no_decays(len(pt)), there


def _eta(random: Generator, size: int) -> FloatArray:
    numbers = parameters("multijet_event")
    eta = numbers["eta_sigma"] * draws.normal(random, size)
    limit = numbers["eta_maximum"]
    return np.where(np.abs(eta) > limit, draws.uniform(random, size, -limit, limit), eta).astype(np.float32)


def multijets(random: Generator, jets: Axes, mismodelling: float) -> Constituents:
    """Draws the constituents of multijets.

    A small share of them hold neutral long-lived hadrons only: few tracks, one late shower. They are what a signal is
    most easily mistaken for.
    """
    trackless = draws.uniform(random, len(jets)) < parameters("overlap")["qcd_trackless"]
    clusters = draft(random, jets, multijet_recipe(random, jets, mismodelling, trackless))
    energies, pt = _layers(random, clusters, trackless, mismodelling)
    delay = out_of_time(random, jets.pt, mismodelling)[clusters.owners]
    time = times(random, pt, delay, np.ones_like(delay), mismodelling)
    primary, charged = multijet_primaries(random, jets)
    primary = np.where(trackless, np.minimum(primary, draws.choose(random, [0.6, 0.3, 0.1], len(jets))), primary)
    return Constituents(
        cluster_lists(clusters, pt, energies, time),
        tracks(random, jets, TrackRecipe(primary, charged, "multijet", mismodelling)),
        muon_segments.muon_segments(random, jets, _segments(random, jets, mismodelling)),
    )


def multijet_recipe(
    random: Generator, jets: Axes, mismodelling: float, trackless: NDArray[np.bool_] | None = None
) -> ClusterRecipe:
    """Number of clusters of multijets, and the distribution of the momentum among them."""
    numbers, size = parameters("clusters")["multijet"], len(jets)
    shift = parameters("data_minus_mc")
    soft, boost = numbers["soft"], numbers["lead_boost"]
    fewer_soft, fewer_hard = (
        draws.mismodelled(1.0, shift[name], mismodelling) for name in ("soft_clusters", "hard_clusters")
    )
    soft_mean = soft["mean"] * fewer_soft * np.minimum(jets.pt / soft["fewer_below"], 1)
    hard = multijet_hard_counts(random, jets, fewer_hard)
    lead_boost = boost["scale"] * (boost["mean"] + boost["sigma"] * draws.normal(random, size))
    if trackless is not None:
        hard = np.where(trackless, 1 + random.poisson(1.0, size), hard)
        lead_boost = np.where(trackless, parameters("clusters")["signal"]["lead_boost"], lead_boost)
    spread = numbers["spread"]
    return ClusterRecipe(
        hard=hard,
        soft=draws.negative_binomial(random, soft_mean, soft["k"], size),
        soft_pt=(soft["pt"], soft["sigma"]),
        spread=np.maximum(
            spread["constant"] + spread["slope"] * jets.lp + spread["sigma"] * draws.normal(random, size), 0.3
        ).astype(np.float32),
        lead_boost=lead_boost.astype(np.float32),
        sum_share=sum_share(random, jets, numbers["sum_share"], mismodelling),
        angle=(np.full(size, numbers["angle"][0], np.float32), numbers["angle"][1]),
    )


def multijet_hard_counts(random: Generator, jets: Axes, factor: float = 1.0) -> IntArray:
    """Number of hard clusters of multijets, [jets], at least 1."""
    hard = parameters("clusters")["multijet"]["hard"]
    mean = np.maximum(hard["constant"] + hard["slope"] * jets.lp, hard["minimum"])
    return 1 + draws.negative_binomial(random, factor * mean, hard["k"], len(jets))


def sum_share(random: Generator, jets: Axes, numbers: Mapping[str, float], mismodelling: float = 0.0) -> FloatArray:
    """Sum of the clusters' pt over the jet's, [jets]."""
    share = numbers["constant"] + numbers["slope"] * jets.lp + numbers["sigma"] * draws.normal(random, len(jets))
    if mismodelling:
        shift = parameters("data_minus_mc")["sum_share"]
        share = share + np.where(jets.pt < shift["below"], shift["shift"] * mismodelling, 0)
    return np.clip(share, 0.3, 1.1).astype(np.float32)


def cluster_lists(clusters: Draft, pt: FloatArray, energies: FloatArray, time: FloatArray) -> Lists:
    """Clusters under the names of their ROOT branches without 'clus_'; momenta and energies in MeV, double precision.

    pt is the sum of the layers over cosh(eta), computed from the numbers that are stored.
    """
    layers = (energies * np.float32(1000)).astype(np.float64)
    eta = clusters.eta.astype(np.float64)
    columns: dict[str, NDArray[Any]] = {"pt": layers.sum(axis=1) / np.cosh(eta), "eta": eta, "phi": clusters.phi}
    columns |= {name: layers[:, i] for i, name in enumerate(LAYERS)}
    return Lists(clusters.counts, columns | {"time": time})


def _layers(
    random: Generator, clusters: Draft, trackless: NDArray[np.bool_], mismodelling: float
) -> tuple[FloatArray, FloatArray]:
    late = trackless[clusters.owners] & clusters.hard & (clusters.pt > parameters("signal_shower")["above"])
    kind = types(random, clusters, "multijet")
    abs_eta = np.abs(clusters.eta)
    energies = Energies(clusters.pt, abs_eta, kind, late, np.zeros_like(late))
    shares = ordinary_shares(random, energies)
    rows = np.flatnonzero(late)
    depth = draws.uniform(random, len(trackless), *parameters("overlap")["trackless_depth"])
    shares[rows] = shower_shares(random, depth[clusters.owners[rows]], abs_eta[rows])
    if mismodelling:
        shares[:, :2] *= np.float32(draws.mismodelled(1.0, parameters("data_minus_mc")["front_layers"], mismodelling))
        shares /= shares.sum(axis=1, keepdims=True)
    return finished(random, energies, shares)


def finished(random: Generator, clusters: Energies, shares: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Energies with noise [GeV], [clusters, 8], and the pt that they add up to [GeV]."""
    energies = noisy_energies(random, clusters, shares)
    return energies, energies.sum(axis=1) / np.cosh(clusters.abs_eta)


def _segments(random: Generator, jets: Axes, mismodelling: float) -> SegmentRecipe:
    return SegmentRecipe(
        background=muon_segments.background_counts(random, len(jets), mismodelling),
        punch=muon_segments.multijet_punch(random, jets.pt),
        halo=np.zeros(len(jets), np.int64),
        mismodelling=mismodelling,
    )
