"""Calorimeter clusters of jets: number, shares of the momentum, directions, types, and times."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cal_ratio_trainer.simulation import draws
from cal_ratio_trainer.simulation.draws import FloatArray, Generator, IntArray, parameters
from cal_ratio_trainer.simulation.lists import Axes, slots, sum_by

EM, MIXED, HAD = 0, 1, 2
"""Types of clusters: all in the ECal, in both, all in the HCal."""


@dataclass(frozen=True)
class ClusterRecipe:
    """Parameters of one class of jets; arrays are [jets].

    Attributes:
        hard: number of hard clusters, at least 1.
        soft: number of soft ones (noise and pile-up).
        soft_pt: median [GeV] and logarithmic width of the soft ones' pt.
        spread: logarithmic width of the hard clusters' shares.
        lead_boost: logarithm of the factor by which one hard cluster, drawn before the sizes, is larger.
        sum_share: sum of the clusters' pt over the jet's.
        angle: typical distance from the axis, constant [jets], and the factor of 1/sqrt(pt / GeV).
    """

    hard: IntArray
    soft: IntArray
    soft_pt: tuple[float, float]
    spread: FloatArray
    lead_boost: FloatArray
    sum_share: FloatArray
    angle: tuple[FloatArray, float]


@dataclass(frozen=True)
class Draft:
    """Clusters before their energy is put into layers: all arrays [clusters], jet after jet, the hard ones first.

    Attributes:
        counts: clusters of each jet, [jets].
        owners: the cluster's jet.
        slot: its number in the jet.
        hard: whether it is a hard cluster.
        lead: whether it is the largest hard cluster of its jet.
        pt: in GeV.
    """

    counts: IntArray
    owners: IntArray
    slot: IntArray
    hard: NDArray[np.bool_]
    lead: NDArray[np.bool_]
    pt: FloatArray
    eta: FloatArray
    phi: FloatArray


def draft(random: Generator, jets: Axes, recipe: ClusterRecipe) -> Draft:
    """Draws the clusters of jets."""
    counts = recipe.hard + recipe.soft
    owners = np.repeat(np.arange(len(jets)), counts)
    slot = slots(counts)
    hard = slot < recipe.hard[owners]
    pt, lead = _momenta(random, jets, recipe, owners, hard)
    eta, phi = _directions(random, jets, recipe, owners, hard, pt)
    return Draft(counts, owners, slot, hard, lead, pt, eta, phi)


def _momenta(
    random: Generator, jets: Axes, recipe: ClusterRecipe, owners: IntArray, hard: NDArray[np.bool_]
) -> tuple[FloatArray, NDArray[np.bool_]]:
    """pt of the clusters [GeV], and which is the largest hard one of each jet."""
    median, width = recipe.soft_pt
    spread = np.where(hard, recipe.spread[owners], np.float32(width))
    share = np.exp(spread * draws.normal(random, len(owners)))
    first = np.cumsum(recipe.hard + recipe.soft) - recipe.hard - recipe.soft
    share[first] *= np.exp(recipe.lead_boost)
    lead = hard & (share == np.maximum.reduceat(np.where(hard, share, np.float32(0)), first)[owners])
    soft_pt = np.where(hard, np.float32(0), np.float32(median) * share)
    total = recipe.sum_share * jets.pt
    least = np.float32(parameters("clusters")["smallest_hard_share"])
    to_hard = np.maximum(total - sum_by(owners, soft_pt, len(jets)), least * total)
    scale = to_hard / sum_by(owners, np.where(hard, share, np.float32(0)), len(jets))
    return np.where(hard, share * scale[owners], soft_pt), lead


def _directions(
    random: Generator, jets: Axes, recipe: ClusterRecipe, owners: IntArray, hard: NDArray[np.bool_], pt: FloatArray
) -> tuple[FloatArray, FloatArray]:
    shape = parameters("clusters")
    constant, slope = recipe.angle
    scale = constant[owners] + np.float32(slope) / np.sqrt(pt)
    from_axis = np.minimum(draws.rayleigh(random, len(owners)) * scale, np.float32(shape["hard_radius_maximum"]))
    in_disc = np.float32(shape["soft_radius"]) * np.sqrt(draws.uniform(random, len(owners)))
    radius = np.where(hard, from_axis, in_disc)
    turn = draws.angle(random, len(owners))
    eta = radius * np.cos(turn) * np.where(hard, np.float32(1), np.float32(shape["soft_eta_squeeze"]))
    phi = radius * np.sin(turn)
    total = sum_by(owners, pt, len(jets))
    eta += (jets.eta - sum_by(owners, pt * eta, len(jets)) / total)[owners]
    phi += (jets.phi - sum_by(owners, pt * phi, len(jets)) / total)[owners]
    return eta, draws.wrap(phi)


def types(random: Generator, draft: Draft, flavour: str) -> NDArray[np.int8]:
    """EM, MIXED or HAD for each cluster, by its pt; `flavour` is 'multijet', 'bib' or 'signal'."""
    table = parameters("cluster_type")
    ln_pt, nodes = np.log(draft.pt), np.log(table["pt"])
    p_em = np.interp(ln_pt, nodes, table["em"])
    p_mixed = np.interp(ln_pt, nodes, table["mixed"])
    if flavour == "multijet":
        lead, share = table["multijet_lead"], table["multijet_lead"]["share"]
        p_em = np.where(draft.lead, (1 - share) * p_em + share * lead["em"], p_em)
        p_mixed = np.where(draft.lead, (1 - share) * p_mixed + share * lead["mixed"], p_mixed)
    if flavour == "bib":
        of_halo = draft.hard & (draft.pt > table["bib_hard"]["above"])
        p_em = np.where(of_halo, 0.0, p_em)
        p_mixed = np.where(of_halo, 1 - table["bib_hard"]["had"], p_mixed)
    drawn = draws.uniform(random, len(ln_pt))
    return np.asarray((drawn > p_em).astype(np.int8) + (drawn > p_em + p_mixed), np.int8)


def times(
    random: Generator, pt: FloatArray, delay: FloatArray, tail_scale: FloatArray, mismodelling: float = 0.0
) -> FloatArray:
    """Cluster times [ns], [clusters], relative to a particle from the collision at the speed of light.

    Args:
        random: of the file.
        pt: [GeV], [clusters].
        delay: [ns], [clusters].
        tail_scale: factor on the probability of a pile-up time, [clusters].
        mismodelling: shifts and smears are those of data times this; 0 for simulation.
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
