"""What multijets consist of: in simulation and, shifted by what data differ, in data."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cal_ratio_trainer.simulation import draws, muon_segments, timing
from cal_ratio_trainer.simulation.clusters import ClusterRecipe, Draft, draft, types
from cal_ratio_trainer.simulation.draws import FloatArray, Generator, IntArray
from cal_ratio_trainer.simulation.layers import LAYERS, Energies, noisy_energies, ordinary_shares
from cal_ratio_trainer.simulation.lists import Axes, Constituents, Lists
from cal_ratio_trainer.simulation.muon_segments import SegmentRecipe
from cal_ratio_trainer.simulation.parameters import parameters
from cal_ratio_trainer.simulation.showers import shower_shares
from cal_ratio_trainer.simulation.timing import TimeRecipe
from cal_ratio_trainer.simulation.tracks import TrackRecipe, multijet_primaries, tracks


def multijets(random: Generator, jets: Axes, is_data: bool) -> Constituents:
    """Draw the constituents of multijets.

    A small share of them hold neutral long-lived hadrons only: few tracks, one late shower. They are what a signal is
    most easily mistaken for.
    """
    trackless = draws.uniform(random, len(jets)) < parameters("overlap")["qcd_trackless"]
    clusters = draft(random, jets, multijet_recipe(random, jets, is_data, trackless))
    energies, pt = _layers(random, clusters, trackless, is_data)
    delay = timing.out_of_time(random, jets.pt, is_data)[clusters.owners]
    time = timing.times(random, pt, TimeRecipe(delay, np.ones_like(delay), is_data))
    primary, charged = multijet_primaries(random, jets)
    primary = np.where(trackless, np.minimum(primary, draws.choose(random, [0.6, 0.3, 0.1], len(jets))), primary)
    return Constituents(
        cluster_lists(clusters, pt, energies, time),
        tracks(random, jets, TrackRecipe(primary, charged, "multijet", is_data)),
        muon_segments.muon_segments(random, jets, _segments(random, jets, is_data)),
    )


def multijet_recipe(
    random: Generator, jets: Axes, is_data: bool, trackless: NDArray[np.bool_] | None = None
) -> ClusterRecipe:
    """How many clusters multijets have and how these share the momentum."""
    numbers, size = parameters("clusters")["multijet"], len(jets)
    shift = parameters("data_minus_mc") if is_data else {}
    soft, boost = numbers["soft"], numbers["lead_boost"]
    soft_mean = soft["mean"] * shift.get("soft_clusters", 1.0) * np.minimum(jets.pt / soft["fewer_below"], 1)
    hard = multijet_hard_counts(random, jets, shift.get("hard_clusters", 1.0))
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
        sum_share=sum_share(random, jets, numbers["sum_share"], is_data),
        angle=(np.full(size, numbers["angle"][0], np.float32), numbers["angle"][1]),
    )


def multijet_hard_counts(random: Generator, jets: Axes, factor: float = 1.0) -> IntArray:
    """Number of hard clusters of multijets, [jets], at least 1."""
    hard = parameters("clusters")["multijet"]["hard"]
    mean = np.maximum(hard["constant"] + hard["slope"] * jets.lp, hard["minimum"])
    return 1 + draws.negative_binomial(random, factor * mean, hard["k"], len(jets))


def sum_share(random: Generator, jets: Axes, numbers: Mapping[str, float], is_data: bool = False) -> FloatArray:
    """Sum of the clusters' pt over the jet's, [jets]."""
    share = numbers["constant"] + numbers["slope"] * jets.lp + numbers["sigma"] * draws.normal(random, len(jets))
    if is_data:
        shift = parameters("data_minus_mc")["sum_share"]
        share = share + np.where(jets.pt < shift["below"], shift["shift"], 0)
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
    random: Generator, clusters: Draft, trackless: NDArray[np.bool_], is_data: bool
) -> tuple[FloatArray, FloatArray]:
    late = trackless[clusters.owners] & clusters.hard & (clusters.pt > parameters("signal_shower")["above"])
    kind = types(random, clusters, "multijet")
    abs_eta = np.abs(clusters.eta)
    energies = Energies(clusters.pt, abs_eta, kind, late, np.zeros_like(late))
    shares = ordinary_shares(random, energies)
    rows = np.flatnonzero(late)
    depth = draws.uniform(random, len(trackless), *parameters("overlap")["trackless_depth"])
    shares[rows] = shower_shares(random, depth[clusters.owners[rows]], abs_eta[rows])
    if is_data:
        shares[:, :2] *= np.float32(parameters("data_minus_mc")["front_layers"])
        shares /= shares.sum(axis=1, keepdims=True)
    return finished(random, energies, shares)


def finished(random: Generator, clusters: Energies, shares: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Energies with noise [GeV], [clusters, 8], and the pt that they add up to [GeV]."""
    energies = noisy_energies(random, clusters, shares)
    return energies, energies.sum(axis=1) / np.cosh(clusters.abs_eta)


def _segments(random: Generator, jets: Axes, is_data: bool) -> SegmentRecipe:
    return SegmentRecipe(
        background=muon_segments.background_counts(random, len(jets), is_data),
        punch=muon_segments.multijet_punch(random, jets.pt),
        halo=np.zeros(len(jets), np.int64),
        is_data=is_data,
    )
