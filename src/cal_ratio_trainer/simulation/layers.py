"""Energy of a cluster in the eight calorimeter layers e1 e2 e3 e4 h1 h2 h3 h4, with noise.

Given pt, |eta| and type the pattern is the same for all classes of jets; showers of decays inside the calorimeter, late
showers and halo muons have patterns of their own.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cal_ratio_trainer.simulation import draws
from cal_ratio_trainer.simulation.clusters import EM, HAD, MIXED, Clusters
from cal_ratio_trainer.simulation.draws import FloatArray, Generator, parameters

SPEED_OF_LIGHT = 299.792458
"""Speed of light. [mm/ns]"""


def ordinary_shares(random: Generator, clusters: Clusters, kind: NDArray[np.int8]) -> FloatArray:
    """Shares of the energy in the eight layers, [clusters, 8], each row summing to 1, without noise.

    Args:
        random: random numbers of the file.
        clusters: the clusters.
        kind: EM, MIXED or HAD, [clusters].
    """
    pt, abs_eta = clusters.pt, clusters.abs_eta
    shares = np.zeros((len(pt), 8), np.float32)
    region = np.searchsorted(parameters("layers")["abs_eta_regions"], abs_eta)
    em, mixed, had = (np.flatnonzero(kind == each) for each in (EM, MIXED, HAD))
    shares[em, :4] = _em(random, pt[em], abs_eta[em], region[em])
    numbers = parameters("layers")["had"]
    mean = np.asarray(numbers["mean_by_region"], np.float32)[region[had]]
    share = _normalised(draws.gamma(random, mean * np.float32(numbers["concentration"])), mean)
    shares[had, 4:] = _normalised(np.where(share < numbers["smallest_share"], np.float32(0), share), mean)
    shares[mixed] = _mixed(random, pt[mixed], abs_eta[mixed], region[mixed])
    return shares


def noisy_energies(
    random: Generator,
    clusters: Clusters,
    kind: NDArray[np.int8],
    shares: FloatArray,
    displaced: NDArray[np.bool_] | None = None,
    halo: NDArray[np.bool_] | None = None,
) -> tuple[FloatArray, FloatArray]:
    """Energies in the layers [GeV], [clusters, 8], and the pt that they add up to [GeV], [clusters].

    The energies are the shares of pt cosh(eta) and what noise adds in active layers.

    Args:
        random: random numbers of the file.
        clusters: the clusters.
        kind: EM, MIXED or HAD, [clusters].
        shares: shares of the energy in the layers, [clusters, 8].
        displaced: made by a decay or shower inside the calorimeter, [clusters]; None for no cluster.
        halo: made by a halo muon, [clusters]; None for no cluster.
    """
    numbers, wide = parameters("layers"), np.cosh(clusters.abs_eta)
    energy = clusters.pt * wide
    result = shares * energy[:, None]
    active = draws.uniform(random, 8 * len(energy)).reshape(-1, 8) < _activity(clusters, kind, displaced)
    active |= result != 0
    growth = np.sqrt(1 + np.maximum(energy, numbers["noise_smallest_energy"]) / numbers["noise_growth_energy"])
    sigma = np.asarray(numbers["noise_sigma"], np.float32) * growth.astype(np.float32)[:, None]
    result += np.where(active, draws.normal(random, (len(energy), 8)) * sigma, np.float32(0))
    # Showers leave a little beyond where they end; without it empty hadronic layers would separate the classes.
    leaks = (clusters.pt > numbers["leakage"]["above"]) & (kind != EM)
    rows = np.flatnonzero(leaks if halo is None else leaks & ~halo)
    amount = np.abs(draws.normal(random, (len(rows), 4))) * np.float32(numbers["leakage"]["share"])
    empty = (active & (shares == 0))[rows, 4:]
    result[rows, 4:] += np.where(empty, amount * energy[rows, None], np.float32(0))
    # Renormalised if noise is small; if it is as large as the signal, the sum is what the noise left.
    total = result.sum(axis=1)
    near = np.abs(total / energy - 1) < 0.5
    scale = np.where(near, energy / np.where(near, total, np.float32(1)), np.float32(1))
    scale = np.where(total > parameters("clusters")["smallest_energy"], scale, np.float32(0))
    result *= scale[:, None]
    lost = np.flatnonzero(scale == 0)
    result[lost, 1] = energy[lost]
    return result, result.sum(axis=1) / wide


def _em(random: Generator, pt: FloatArray, abs_eta: FloatArray, region: NDArray[np.intp]) -> FloatArray:
    numbers = parameters("layers")["em"]
    step = np.searchsorted(numbers["pt_edges"], pt)
    mean = np.asarray(numbers["mean_by_region"], np.float32)[region]
    mean *= np.asarray(numbers["factor_by_pt"], np.float32)[step]
    mean /= mean.sum(axis=1, keepdims=True)
    concentration = np.asarray(numbers["concentration_by_pt"], np.float32)[step]
    share = draws.gamma(random, mean * concentration[:, None])
    zero = np.asarray(numbers["zero_by_pt"], np.float32)[step]
    return _normalised(_with_zeros(random, share, zero, abs_eta, numbers["zero_e1_above_eta"]), mean)


def _mixed(random: Generator, pt: FloatArray, abs_eta: FloatArray, region: NDArray[np.intp]) -> FloatArray:
    numbers = parameters("layers")["mixed"]
    step = np.searchsorted(parameters("layers")["pt_edges"], pt)
    em_mean = np.broadcast_to(np.asarray(numbers["em_mean"], np.float32), (len(pt), 4))
    em = draws.gamma(random, em_mean * np.float32(numbers["em_concentration"]))
    zero = np.zeros((len(pt), 4), np.float32)
    zero[:, 0] = np.asarray(numbers["zero_e1_by_pt"])[step]
    zero[:, 1] = np.asarray(numbers["zero_e2_by_pt"])[step]
    em = _normalised(_with_zeros(random, em, zero, abs_eta, numbers["zero_e1_above_eta"]), em_mean)
    had_mean = np.asarray(numbers["had_mean_by_region"], np.float32)[region]
    had = _normalised(draws.gamma(random, had_mean * np.float32(numbers["had_concentration"])), had_mean)
    alpha, beta = numbers["em_share"]["beta"]
    drawn = random.beta(alpha, beta, len(pt)).astype(np.float32)
    share = (numbers["em_share"]["constant"] + numbers["em_share"]["slope"] * drawn)[:, None]
    return np.concatenate([em * share, had * (1 - share)], axis=1)


def _with_zeros(
    random: Generator, share: FloatArray, probability: FloatArray, abs_eta: FloatArray, no_e1: dict[str, float]
) -> FloatArray:
    probability = probability.copy()
    first = np.where(abs_eta > no_e1["abs_eta"], np.float32(no_e1["probability"]), np.float32(0))
    probability[:, 0] = np.maximum(probability[:, 0], first)
    drawn = draws.uniform(random, share.size).reshape(share.shape)
    return np.asarray(np.where(drawn < probability, np.float32(0), share), np.float32)


def _normalised(share: FloatArray, fallback: FloatArray) -> FloatArray:
    # If every layer of a cluster was switched off, all goes to the layer that usually has most.
    total = share.sum(axis=1, keepdims=True)
    largest = fallback == fallback.max(axis=1, keepdims=True)
    normalised = share / np.maximum(total, np.float32(1e-20))
    return np.asarray(np.where(total > 1e-20, normalised, largest), np.float32)


def _activity(clusters: Clusters, kind: NDArray[np.int8], displaced: NDArray[np.bool_] | None) -> FloatArray:
    """Probabilities that layers are active, [clusters, 8]."""
    numbers = parameters("layers")
    step = np.searchsorted(numbers["pt_edges"], clusters.pt)
    table = np.asarray([numbers["activity_em"], numbers["activity_had"]], np.float32)
    result: FloatArray = table[(kind != EM).astype(np.int8), step]
    h1: dict[str, Any] = numbers["activity_h1"]
    forward = (clusters.abs_eta > h1["abs_eta"]) & (kind != EM)
    result[forward, 4] = np.asarray(h1["by_pt"], np.float32)[step[forward]]
    if displaced is not None:
        deep = displaced & (kind != EM) & (clusters.pt > numbers["activity_displaced"]["above"])
        result[deep, :4] = np.asarray(numbers["activity_displaced"]["e1_e4"], np.float32)
    return result


def depth_at(transverse: FloatArray, longitudinal: FloatArray, abs_eta: FloatArray) -> FloatArray:
    """Interaction lengths of calorimeter before a point, along its layers' normal.

    Args:
        transverse: distance from the beam line [mm].
        longitudinal: distance along the beam [mm], absolute.
        abs_eta: direction; decides between barrel and endcap.
    """
    numbers = parameters("depth")
    barrel = np.interp(transverse, numbers["barrel"]["radius"], numbers["barrel"]["depth"])
    endcap = np.interp(longitudinal, numbers["endcap"]["z"], numbers["endcap"]["depth"])
    return np.asarray(np.where(in_barrel(abs_eta), barrel, endcap), np.float32)


def in_barrel(abs_eta: FloatArray) -> NDArray[np.bool_]:
    """True if the fiducial region of this direction is the barrel's."""
    return np.asarray(abs_eta < parameters("signal_event")["fiducial"]["eta_border"])


def shower_shares(random: Generator, depth: FloatArray, abs_eta: FloatArray) -> FloatArray:
    """Shares [clusters, 8] of showers that start `depth` interaction lengths [clusters] inside the calorimeter.

    Each cluster is a mixture of a few sub-showers, electromagnetic or hadronic, whose profile is a Gamma distribution
    of shape 2, integrated between the layers' edges.
    """
    numbers = parameters("signal_shower")
    em, had = numbers["em"], numbers["had"]
    total = np.zeros((len(depth), 8), np.float32)
    barrel = in_barrel(abs_eta)
    oblique = np.where(barrel, 1 / np.cosh(abs_eta), np.tanh(abs_eta)).astype(np.float32)
    for _ in range(numbers["subshowers"]):
        electromagnetic = draws.uniform(random, len(depth)) < numbers["em_probability"]
        weight = draws.gamma(random, numbers["subshower_gamma"], len(depth))
        begin = np.where(electromagnetic, em["start"], had["start"]).astype(np.float32)
        start = draws.exponential(random, len(depth)) * begin
        spread = np.exp(np.float32(had["length_sigma"]) * draws.normal(random, len(depth)))
        length = np.where(electromagnetic, np.float32(em["length"]), np.float32(had["length"]) * spread)
        total += weight[:, None] * _between_layers(depth + start * oblique, length * oblique, barrel)
    total *= np.exp(np.float32(numbers["layer_fluctuation"]) * draws.normal(random, total.shape))
    return _contained(random, total)


def _between_layers(start: FloatArray, length: FloatArray, barrel: NDArray[np.bool_]) -> FloatArray:
    numbers = parameters("depth")
    edges = np.where(barrel[:, None], numbers["barrel_edges"], numbers["endcap_edges"]).astype(np.float32)
    reduced = np.maximum((edges - start[:, None]) / length[:, None], np.float32(0))
    inside = np.diff(1 - (1 + reduced) * np.exp(-reduced), axis=1)
    return np.delete(inside, 4, axis=1)  # the gap between ECal and HCal measures nothing


def _contained(random: Generator, shares: FloatArray) -> FloatArray:
    numbers = parameters("signal_shower")
    contained = shares.sum(axis=1)
    shares /= np.maximum(contained, np.float32(1e-12))[:, None]
    # Clusters seldom reach over the cryostat gap: most keep only one side, the larger one in a random draw.
    em = shares[:, :4].sum(axis=1)
    pure = draws.uniform(random, len(em)) < numbers["pure_share"]
    keep_em = draws.uniform(random, len(em)) < em
    shares[pure & keep_em, 4:] = 0
    shares[pure & ~keep_em, :4] = 0
    shares[shares < numbers["drop_below"]] = 0
    shares[contained < numbers["smallest_contained"]] = [0, 0, 0, 0, 0, 0, 0, 1]
    total = shares.sum(axis=1)
    shares[total <= 0] = [0, 0, 0, 0, 0, 0, 0, 1]
    return np.asarray(shares / shares.sum(axis=1, keepdims=True), np.float32)


def halo_shares(random: Generator, abs_eta: FloatArray) -> tuple[FloatArray, NDArray[np.intp]]:
    """Shares [clusters, 8] of halo muons, and which HCal layer (0 to 3) each lights up.

    One layer has nearly all of the energy, a neighbour the rest.
    """
    numbers = parameters("bib_layer")
    region = np.searchsorted(numbers["eta_edges"], abs_eta)
    edges = np.cumsum(np.asarray(numbers["probability"]), axis=1)[region]
    layer = (draws.uniform(random, len(abs_eta))[:, None] * edges[:, -1:] > edges).sum(axis=1)
    narrow, wide = numbers["narrow"], numbers["wide"]
    is_barrel = abs_eta < narrow["border"]
    probability = np.where(is_barrel, narrow["barrel"], narrow["endcap"])
    sharp = 1 - np.abs(draws.normal(random, len(layer)) * np.float32(narrow["sigma"]))
    alpha, beta = (np.where(is_barrel, wide["barrel"][i], wide["endcap"][i]) for i in (0, 1))
    blunt = np.maximum(random.beta(alpha, beta), wide["minimum"])
    share = np.where(draws.uniform(random, len(layer)) < probability, sharp, blunt).astype(np.float32)
    step = draws.sign(random, len(layer)).astype(int)
    neighbour = np.where((layer + step > 3) | (layer + step < 0), layer - step, layer + step)
    # The barrel has no first hadronic layer.
    neighbour = np.where((neighbour == 0) & is_barrel, 2, neighbour)
    shares = np.zeros((len(layer), 8), np.float32)
    rows = np.arange(len(layer))
    shares[rows, 4 + layer] = share
    shares[rows, 4 + neighbour] += 1 - share
    return shares, layer


def halo_delay(random: Generator, eta: FloatArray, layer: NDArray[np.intp], incoming: NDArray[np.bool_]) -> FloatArray:
    """Time of a halo muon relative to particles from the collision [ns]: its path parallel to the beam is shorter.

    t = -(sqrt(r^2 + z^2) - |z|) / c for the outgoing side, -(sqrt(r^2 + z^2) + |z|) / c for the incoming one, with the
    place (r, z) of the layer that it lights up.
    """
    numbers = parameters("bib_layer")
    slope = np.sinh(np.abs(eta)) + np.float32(1e-6)
    barrel = np.abs(eta) < numbers["narrow"]["border"]
    radius = np.where(barrel, np.take(numbers["barrel_radius"], layer), np.take(numbers["endcap_z"], layer) / slope)
    along = radius * slope
    distance = np.hypot(radius, along)
    return (-(distance + np.where(incoming, along, -along)) / SPEED_OF_LIGHT).astype(np.float32)
