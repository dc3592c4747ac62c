"""How a cluster's energy lies in the eight calorimeter layers e1 e2 e3 e4 h1 h2 h3 h4, with noise.

Given pt, |eta| and type the pattern is the same for all classes of jets; showers of decays inside the calorimeter and
halo muons have patterns of their own (`showers`).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cal_ratio_trainer.simulation import draws
from cal_ratio_trainer.simulation.clusters import EM, HAD, MIXED
from cal_ratio_trainer.simulation.draws import FloatArray, Generator
from cal_ratio_trainer.simulation.parameters import parameters

LAYERS = ("l1ecal", "l2ecal", "l3ecal", "l4ecal", "l1hcal", "l2hcal", "l3hcal", "l4hcal")
"""Branch names (after clus_) of the columns here, in order."""


@dataclass(frozen=True)
class Energies:
    """What fixes the pattern of clusters, all [clusters]: pt [GeV], |eta|, type, and what sets them apart.

    Attributes:
        displaced: made by a decay or shower inside the calorimeter.
        halo: made by a halo muon.
    """

    pt: FloatArray
    abs_eta: FloatArray
    kind: NDArray[np.int8]
    displaced: NDArray[np.bool_]
    halo: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.pt)


def ordinary_shares(random: Generator, clusters: Energies) -> FloatArray:
    """Shares of the energy in the eight layers, [clusters, 8], each row summing to 1, without noise."""
    shares = np.zeros((len(clusters), 8), np.float32)
    region = np.searchsorted(parameters("layers")["abs_eta_regions"], clusters.abs_eta)
    em, mixed, had = (np.flatnonzero(clusters.kind == kind) for kind in (EM, MIXED, HAD))
    shares[em, :4] = _em(random, clusters.pt[em], clusters.abs_eta[em], region[em])
    shares[had, 4:] = _had(random, region[had])
    shares[mixed] = _mixed(random, clusters.pt[mixed], clusters.abs_eta[mixed], region[mixed])
    return shares


def noisy_energies(random: Generator, clusters: Energies, shares: FloatArray) -> FloatArray:
    """Energies in the layers [GeV], [clusters, 8]: the shares of pt cosh(eta) and what noise adds in active layers."""
    numbers = parameters("layers")
    energy = clusters.pt * np.cosh(clusters.abs_eta)
    result = shares * energy[:, None]
    active = draws.uniform(random, 8 * len(clusters)).reshape(-1, 8) < _activity(clusters)
    active |= result != 0
    growth = np.sqrt(1 + np.maximum(energy, numbers["noise_smallest_energy"]) / numbers["noise_growth_energy"])
    sigma = np.asarray(numbers["noise_sigma"], np.float32) * growth.astype(np.float32)[:, None]
    result += np.where(active, draws.normal(random, (len(clusters), 8)) * sigma, np.float32(0))
    _leak(random, clusters, result, active & (shares == 0))
    return _rescaled(result, energy)


def _rescaled(energies: FloatArray, wanted: FloatArray) -> FloatArray:
    # Renormalised where noise is small; where it is as large as the signal the sum is what the noise left.
    total = energies.sum(axis=1)
    near = np.abs(total / wanted - 1) < 0.5
    scale = np.where(near, wanted / np.where(near, total, np.float32(1)), np.float32(1))
    scale = np.where(total > parameters("clusters")["smallest_energy"], scale, np.float32(0))
    energies *= scale[:, None]
    lost = np.flatnonzero(scale == 0)
    energies[lost, 1] = wanted[lost]
    return energies


def _em(random: Generator, pt: FloatArray, abs_eta: FloatArray, region: NDArray[np.intp]) -> FloatArray:
    numbers = parameters("layers")["em"]
    step = np.searchsorted(numbers["pt_edges"], pt)
    mean = np.asarray(numbers["mean_by_region"], np.float32)[region]
    concentration = np.asarray(numbers["concentration_by_pt"], np.float32)[step]
    share = draws.gamma(random, mean * concentration[:, None])
    zero = np.asarray(numbers["zero_by_pt"], np.float32)[step]
    return _normalised(_with_zeros(random, share, zero, abs_eta, numbers["zero_e1_above_eta"]), mean)


def _had(random: Generator, region: NDArray[np.intp]) -> FloatArray:
    numbers = parameters("layers")["had"]
    mean = np.asarray(numbers["mean_by_region"], np.float32)[region]
    share = _normalised(draws.gamma(random, mean * np.float32(numbers["concentration"])), mean)
    return _normalised(np.where(share < numbers["smallest_share"], np.float32(0), share), mean)


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
    # A row whose every layer was switched off goes to the layer that usually holds most.
    total = share.sum(axis=1, keepdims=True)
    largest = fallback == fallback.max(axis=1, keepdims=True)
    normalised = share / np.maximum(total, np.float32(1e-20))
    return np.asarray(np.where(total > 1e-20, normalised, largest), np.float32)


def _activity(clusters: Energies) -> FloatArray:
    numbers = parameters("layers")
    step = np.searchsorted(numbers["pt_edges"], clusters.pt)
    table = np.asarray([numbers["activity_em"], numbers["activity_had"]], np.float32)
    result: FloatArray = table[(clusters.kind != EM).astype(np.int8), step]
    h1: dict[str, Any] = numbers["activity_h1"]
    forward = (clusters.abs_eta > h1["abs_eta"]) & (clusters.kind != EM)
    result[forward, 4] = np.asarray(h1["by_pt"], np.float32)[step[forward]]
    displaced = numbers["activity_displaced"]
    deep = clusters.displaced & (clusters.kind != EM) & (clusters.pt > displaced["above"])
    result[deep, :4] = np.asarray(displaced["e1_e4"], np.float32)
    return result


def _leak(random: Generator, clusters: Energies, energies: FloatArray, empty: NDArray[np.bool_]) -> None:
    # Showers leave a little beyond where they end; without it empty hadronic layers would tell the classes apart.
    leakage = parameters("layers")["leakage"]
    rows = np.flatnonzero((clusters.pt > leakage["above"]) & (clusters.kind != EM) & ~clusters.halo)
    energy = clusters.pt[rows] * np.cosh(clusters.abs_eta[rows])
    amount = np.abs(draws.normal(random, (len(rows), 4))) * np.float32(leakage["share"]) * energy[:, None]
    energies[rows, 4:] += np.where(empty[rows, 4:], amount, np.float32(0))
