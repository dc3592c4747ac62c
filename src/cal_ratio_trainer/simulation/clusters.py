"""Calorimeter clusters of jets: number, shares of the momentum, directions, types, and times."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cal_ratio_trainer.simulation import draws
from cal_ratio_trainer.simulation.draws import FloatArray, Generator, IntArray, parameters
from cal_ratio_trainer.simulation.grouped import Grouped, JetArray, log_pt, slots, sum_by

EM, MIXED, HAD = 0, 1, 2
"""Types of clusters: all in the ECal, in both, all in the HCal."""


LAYERS = ("l1ecal", "l2ecal", "l3ecal", "l4ecal", "l1hcal", "l2hcal", "l3hcal", "l4hcal")
"""Branch names (after clus_) of the layers e1 e2 e3 e4 h1 h2 h3 h4 of the calorimeters, in order."""


@dataclass(frozen=True)
class Clusters:
    """Clusters before their energy is put into layers: all arrays [clusters], jet after jet, the hard ones first.

    Attributes:
        counts: number of clusters of each jet, [jets].
        owners: position of the cluster's jet.
        slot: position of the cluster in its jet.
        hard: True for a hard cluster.
        lead: True for the largest hard cluster of its jet.
        pt: transverse momentum [GeV].
        eta: pseudorapidity.
        phi: azimuth.
    """

    counts: IntArray
    owners: IntArray
    slot: IntArray
    hard: NDArray[np.bool_]
    lead: NDArray[np.bool_]
    pt: FloatArray
    eta: FloatArray
    phi: FloatArray

    @property
    def abs_eta(self) -> FloatArray:
        """Absolute pseudorapidity."""
        return np.abs(self.eta)


def clusters_of_jets(
    random: Generator,
    jets: JetArray,
    *,
    hard: IntArray,
    soft: IntArray,
    soft_pt: tuple[float, float],
    spread: ArrayLike,
    lead_boost: ArrayLike,
    sum_share: FloatArray,
    angle: tuple[ArrayLike, ArrayLike],
) -> Clusters:
    """Draws the clusters of jets.

    Args:
        random: random numbers of the file.
        jets: the jets.
        hard: number of hard clusters, at least 1, [jets].
        soft: number of soft clusters (noise and pile-up), [jets].
        soft_pt: median [GeV] and logarithmic width of the pt of soft clusters.
        spread: logarithmic width of the shares of hard clusters, one number or [jets].
        lead_boost: logarithm of the factor by which one hard cluster, drawn before the sizes, is larger, one or [jets].
        sum_share: sum of the clusters' pt over the jet's, [jets].
        angle: typical distance from the axis: constant and factor of 1/sqrt(pt / GeV), each one number or [jets].
    """
    counts, size = hard + soft, len(jets)
    owners = np.repeat(np.arange(size), counts)
    slot = slots(counts)
    is_hard = slot < hard[owners]
    spread, lead_boost, constant, slope = (
        np.broadcast_to(np.asarray(each, np.float32), size) for each in (spread, lead_boost, *angle)
    )
    pt, lead = _momenta(random, owners, is_hard, soft_pt, spread, lead_boost, sum_share * jets["pt"])
    scale = np.asarray(constant[owners] + slope[owners] / np.sqrt(pt), np.float32)
    eta, phi = _directions(random, jets, owners, is_hard, pt, scale)
    return Clusters(counts, owners, slot, is_hard, lead, pt, eta, phi)


def _momenta(
    random: Generator,
    owners: IntArray,
    hard: NDArray[np.bool_],
    soft_pt: tuple[float, float],
    spread: FloatArray,
    lead_boost: FloatArray,
    total: FloatArray,
) -> tuple[FloatArray, NDArray[np.bool_]]:
    """pt of the clusters [GeV], and which is the largest hard one of each jet; `total` [GeV] is their sum, [jets]."""
    median, width = soft_pt
    spread = np.where(hard, spread[owners], np.float32(width))
    share = np.exp(spread * draws.normal(random, len(owners)))
    first = np.searchsorted(owners, np.arange(len(total)))
    share[first] *= np.exp(lead_boost)
    lead = hard & (share == np.maximum.reduceat(np.where(hard, share, np.float32(0)), first)[owners])
    soft = np.where(hard, np.float32(0), np.float32(median) * share)
    least = np.float32(parameters("clusters")["smallest_hard_share"])
    to_hard = np.maximum(total - sum_by(owners, soft, len(total)), least * total)
    scale = to_hard / sum_by(owners, np.where(hard, share, np.float32(0)), len(total))
    return np.where(hard, share * scale[owners], soft), lead


def _directions(
    random: Generator, jets: JetArray, owners: IntArray, hard: NDArray[np.bool_], pt: FloatArray, scale: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Directions of the clusters, whose mean weighted by pt is the jet's; `scale` is the typical distance from it."""
    shape = parameters("clusters")
    from_axis = np.minimum(draws.rayleigh(random, len(owners)) * scale, np.float32(shape["hard_radius_maximum"]))
    in_disc = np.float32(shape["soft_radius"]) * np.sqrt(draws.uniform(random, len(owners)))
    radius = np.where(hard, from_axis, in_disc)
    turn = draws.angle(random, len(owners))
    eta = radius * np.cos(turn) * np.where(hard, np.float32(1), np.float32(shape["soft_eta_squeeze"]))
    phi = radius * np.sin(turn)
    total = sum_by(owners, pt, len(jets))
    eta += (jets["eta"] - sum_by(owners, pt * eta, len(jets)) / total)[owners]
    phi += (jets["phi"] - sum_by(owners, pt * phi, len(jets)) / total)[owners]
    return eta, draws.wrap(phi)


def sum_share(random: Generator, jets: JetArray, numbers: Mapping[str, float], mismodelling: float = 0.0) -> FloatArray:
    """Sum of the clusters' pt over the jet's, [jets]."""
    share = numbers["constant"] + numbers["slope"] * log_pt(jets) + numbers["sigma"] * draws.normal(random, len(jets))
    if mismodelling:
        shift = parameters("data_minus_mc")["sum_share"]
        share = share + np.where(jets["pt"] < shift["below"], shift["shift"] * mismodelling, 0)
    return np.clip(share, 0.3, 1.1).astype(np.float32)


def multijet_hard_counts(random: Generator, jets: JetArray, factor: ArrayLike = 1.0) -> IntArray:
    """Number of hard clusters of multijets, [jets], at least 1; `factor` on its mean is a number or [jets]."""
    hard = parameters("clusters")["multijet"]["hard"]
    mean = np.maximum(hard["constant"] + hard["slope"] * log_pt(jets), hard["minimum"])
    return 1 + draws.negative_binomial(random, factor * mean, hard["k"], len(jets))


def cluster_columns(clusters: Clusters, energies: FloatArray, time: FloatArray) -> Grouped:
    """Clusters under the names of their ROOT branches without 'clus_'; momenta and energies in MeV, double precision.

    pt is the sum of the layers over cosh(eta), computed from the numbers that are stored.

    Args:
        clusters: the clusters.
        energies: energies in the layers [GeV], [clusters, 8].
        time: [ns], [clusters].
    """
    layers = (energies * np.float32(1000)).astype(np.float64)
    eta = clusters.eta.astype(np.float64)
    columns: dict[str, NDArray[Any]] = {"pt": layers.sum(axis=1) / np.cosh(eta), "eta": eta, "phi": clusters.phi}
    columns |= {name: layers[:, i] for i, name in enumerate(LAYERS)}
    return Grouped(clusters.counts, columns | {"time": time})


def types(random: Generator, clusters: Clusters, flavour: str) -> NDArray[np.int8]:
    """EM, MIXED or HAD for each cluster, by its pt; `flavour` is 'multijet', 'bib' or 'signal'."""
    table = parameters("cluster_type")
    ln_pt, nodes = np.log(clusters.pt), np.log(table["pt"])
    p_em = np.interp(ln_pt, nodes, table["em"])
    p_mixed = np.interp(ln_pt, nodes, table["mixed"])
    if flavour == "multijet":
        lead = table["multijet_lead"]
        p_em = np.where(clusters.lead, lead["em"], p_em)
        p_mixed = np.where(clusters.lead, np.interp(ln_pt, np.log(lead["pt"]), lead["mixed"]), p_mixed)
    drawn = draws.uniform(random, len(ln_pt))
    if flavour == "multijet":
        # The photons of a jet carry about the same share of it in each: the other clusters balance the largest.
        of_lead = np.zeros(len(clusters.counts), np.int8)
        of_lead[clusters.owners[clusters.lead]] = ((drawn > p_em).astype(np.int8) + (drawn > p_em + p_mixed))[
            clusters.lead
        ]
        balancing = clusters.hard & ~clusters.lead & (clusters.pt > lead["balanced_above"])
        kind = np.where(balancing, of_lead[clusters.owners], MIXED)
        fewer = np.float32(lead["balance"])
        p_mixed = np.where(kind == HAD, p_mixed * fewer, p_mixed)
        p_em = np.where(kind == EM, p_em * fewer, np.where(kind == HAD, 1 - (1 - p_em) * fewer, p_em))
    if flavour == "bib":
        of_halo = clusters.hard & (clusters.pt > table["bib_hard"]["above"])
        p_em = np.where(of_halo, 0.0, p_em)
        p_mixed = np.where(of_halo, 1 - table["bib_hard"]["had"], p_mixed)
    return np.asarray((drawn > p_em).astype(np.int8) + (drawn > p_em + p_mixed), np.int8)


def times(
    random: Generator, pt: FloatArray, delay: FloatArray, tail_scale: FloatArray, mismodelling: float = 0.0
) -> FloatArray:
    """Cluster times [ns], [clusters], relative to a particle from the collision at the speed of light.

    Args:
        random: random numbers of the file.
        pt: transverse momentum [GeV], [clusters].
        delay: delay [ns], [clusters].
        tail_scale: factor on the probability of a pile-up time, [clusters].
        mismodelling: factor on the shifts and smears of data; 0 for simulation.
    """
    numbers = parameters("time")
    size = len(pt)
    step = np.searchsorted(numbers["pt_edges"], pt)
    mean, sigma, tail_probability, zero = (
        np.asarray(numbers[name], np.float32)[step] for name in ("mean", "sigma", "tail_probability", "zero")
    )
    core = numbers["core"]
    wide = draws.uniform(random, size) < core["wide_probability"]
    sigma = sigma * np.where(wide, np.float32(core["wide"]), np.float32(core["narrow"]))
    if mismodelling:
        shift = parameters("data_minus_mc")
        offset = np.asarray(shift["time_offset"], np.float32) * np.float32(mismodelling)
        mean = mean + offset[np.searchsorted(shift["time_edges"], pt)]
        sigma = np.hypot(sigma, np.float32(shift["time_smear"] * mismodelling))
    result = mean + delay + sigma * draws.normal(random, size)
    tail = draws.uniform(random, size) < np.minimum(tail_probability * tail_scale, np.float32(0.9))
    late = numbers["tail"]["mean"] + np.float32(numbers["tail"]["sigma"]) * draws.normal(random, int(tail.sum()))
    result[tail] = late
    result[draws.uniform(random, size) < zero] = 0
    return result


def out_of_time(random: Generator, jet_pt: FloatArray, mismodelling: float) -> FloatArray:
    """Delay [jets] of jets that come from a neighbouring bunch crossing; 0 for most [ns]."""
    numbers = parameters("time")["out_of_time"]
    fall = np.exp(-np.maximum(jet_pt - numbers["pt"], 0) / numbers["fall"])
    probability = draws.mismodelled(numbers["mc"], numbers["data"], mismodelling)
    late = draws.uniform(random, len(jet_pt)) < probability * fall
    shift = numbers["shift"] + numbers["sigma"] * draws.normal(random, len(jet_pt))
    return np.where(late, shift * draws.sign(random, len(jet_pt), numbers["negative"]), 0).astype(np.float32)
