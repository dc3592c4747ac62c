"""Multijet events in slices of the leading jet's true pt, and the constituents of multijets.

Data differ from simulation by shifts (`data_minus_mc` of the parameters), which `mismodelling` multiplies: 0 for
simulation, 1 for data as they were measured.
"""

import numpy as np
from numpy.typing import NDArray

from cal_ratio_trainer.simulation import draws
from cal_ratio_trainer.simulation.clusters import (
    Clusters,
    cluster_columns,
    clusters_of_jets,
    multijet_hard_counts,
    out_of_time,
    sum_share,
    times,
    types,
)
from cal_ratio_trainer.simulation.draws import FloatArray, Generator, IntArray, parameters
from cal_ratio_trainer.simulation.events import EventDraft, from_columns, is_selected
from cal_ratio_trainer.simulation.grouped import Constituents, JetArray, jet_array, log_pt
from cal_ratio_trainer.simulation.layers import noisy_energies, ordinary_shares, shower_shares
from cal_ratio_trainer.simulation.muon_segments import background_counts, muon_segments
from cal_ratio_trainer.simulation.tracks import multijet_primaries, tracks


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
    has_third = draws.uniform(random, size) < numbers["third_probability"]
    jets = [
        jet_array(truth, eta, phi),
        jet_array(truth * balance, np.clip(second_eta, -limit, limit), second_phi),
        jet_array(third, _eta(random, size), draws.angle(random, size)),
    ]
    for each in jets:
        smear = 1 + np.float32(numbers["smear"]) * draws.normal(random, size)
        each["pt"] = np.maximum(each["pt"] * smear, np.float32(5))
    there = np.ones(size, bool)
    return from_columns(list(zip(jets, (there, there, has_third), strict=True)), {}, float(size))


def kept_in_multijets(draft: EventDraft) -> IntArray:
    """Number of jets of each event that convert keeps as QCD or data, [events]."""
    return np.bincount(draft.event[is_selected(draft.jets)], minlength=len(draft))


def extra_jet(random: Generator, size: int) -> tuple[JetArray, NDArray[np.bool_]]:
    """A further multijet in each signal or BIB event, and whether the event has it."""
    numbers = parameters("extra_jet")
    pt = numbers["pt_minimum"] + numbers["pt_scale"] * draws.exponential(random, size)
    jets = jet_array(pt, _eta(random, size), draws.angle(random, size))
    return jets, draws.uniform(random, size) < numbers["probability"]


def _eta(random: Generator, size: int) -> FloatArray:
    numbers = parameters("multijet_event")
    eta = numbers["eta_sigma"] * draws.normal(random, size)
    limit = numbers["eta_maximum"]
    return np.where(np.abs(eta) > limit, draws.uniform(random, size, -limit, limit), eta).astype(np.float32)


def multijets(random: Generator, jets: JetArray, mismodelling: float) -> Constituents:
    """Draws the constituents of multijets.

    A jet that fragments softly, e.g. of a gluon, has more clusters and more tracks, is wider, and its leading cluster
    holds less of it. A small share of the jets consist of neutral long-lived hadrons only: few tracks, one late shower.
    These, and narrow jets with few tracks, resemble signal most.
    """
    size = len(jets)
    trackless = draws.uniform(random, size) < parameters("overlap")["qcd_trackless"]
    softness = draws.normal(random, size)
    clusters = _clusters(random, jets, mismodelling, trackless, softness)
    late = trackless[clusters.owners] & clusters.hard & (clusters.pt > parameters("signal_shower")["above"])
    kind = types(random, clusters, "multijet")
    shares = ordinary_shares(random, clusters, kind)
    depth = draws.uniform(random, size, *parameters("overlap")["trackless_depth"])
    shares[late] = shower_shares(random, depth[clusters.owners[late]], clusters.abs_eta[late])
    if mismodelling:
        shares[:, :2] *= np.float32(draws.mismodelled(1.0, parameters("data_minus_mc")["front_layers"], mismodelling))
        shares /= shares.sum(axis=1, keepdims=True)
    energies, pt = noisy_energies(random, clusters, kind, shares, displaced=late)
    delay = out_of_time(random, jets["pt"], mismodelling)[clusters.owners]
    time = times(random, pt, delay, np.ones_like(delay), mismodelling)
    primary, charged = multijet_primaries(random, jets, softness)
    primary = np.where(trackless, np.minimum(primary, draws.choose(random, [0.6, 0.3, 0.1], size)), primary)
    punch = parameters("muon_segments")["punch"]["multijet"]
    return {
        "clusters": cluster_columns(clusters, energies, time),
        "tracks": tracks(random, jets, primary, charged, "multijet", mismodelling),
        "muon_segments": muon_segments(
            random,
            jets,
            background=background_counts(random, size, mismodelling),
            punch=draws.negative_binomial(random, punch["constant"] + punch["slope"] * jets["pt"], punch["k"], size),
            mismodelling=mismodelling,
        ),
    }


def _clusters(
    random: Generator, jets: JetArray, mismodelling: float, trackless: NDArray[np.bool_], softness: FloatArray
) -> Clusters:
    """Clusters of multijets.

    Args:
        random: random numbers of the file.
        jets: the jets.
        mismodelling: 0 for simulation, 1 for data.
        trackless: jets of neutral long-lived hadrons, [jets].
        softness: softness of the fragmentation, standard normal, [jets].
    """
    numbers, size = parameters("clusters")["multijet"], len(jets)
    shift = parameters("data_minus_mc")
    soft, boost, by_softness = numbers["soft"], numbers["lead_boost"], numbers["softness"]
    fewer_soft, fewer_hard = (
        draws.mismodelled(1.0, shift[name], mismodelling) for name in ("soft_clusters", "hard_clusters")
    )
    soft_mean = soft["mean"] * fewer_soft * np.minimum(jets["pt"] / soft["fewer_below"], 1)
    more = np.exp(by_softness["hard"] * softness - by_softness["hard"] ** 2 / 2)
    hard = multijet_hard_counts(random, jets, fewer_hard * more)
    lead_boost = boost["scale"] * (boost["mean"] + boost["sigma"] * draws.normal(random, size))
    lead_boost = np.where(trackless, parameters("clusters")["signal"]["lead_boost"], lead_boost)
    spread = numbers["spread"]
    width = spread["constant"] + spread["slope"] * log_pt(jets) + spread["sigma"] * draws.normal(random, size)
    share = sum_share(random, jets, numbers["sum_share"], mismodelling) + by_softness["sum_share"] * softness
    return clusters_of_jets(
        random,
        jets,
        hard=np.where(trackless, 1 + random.poisson(1.0, size), hard),
        soft=draws.negative_binomial(random, soft_mean, soft["k"], size),
        soft_pt=(soft["pt"], soft["sigma"]),
        spread=np.maximum(width, 0.3),
        lead_boost=lead_boost + by_softness["lead_boost"] * softness,
        sum_share=np.clip(share, 0.3, 1.1).astype(np.float32),
        angle=(0, numbers["angle"] * np.exp(by_softness["angle"] * softness)),
    )
