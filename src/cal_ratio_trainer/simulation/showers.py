"""Layer patterns of what starts inside the calorimeter: decays and late showers at a depth, halo muons in one layer."""

import numpy as np
from numpy.typing import NDArray

from cal_ratio_trainer.simulation import draws
from cal_ratio_trainer.simulation.draws import FloatArray, Generator
from cal_ratio_trainer.simulation.parameters import parameters

SPEED_OF_LIGHT = 299.792458
"""In mm/ns."""


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
    """Whether the fiducial region of this direction is the barrel's."""
    return np.asarray(abs_eta < parameters("signal_event")["fiducial"]["eta_border"])


def shower_shares(random: Generator, depth: FloatArray, abs_eta: FloatArray) -> FloatArray:
    """Shares [clusters, 8] of showers that start `depth` interaction lengths [clusters] inside the calorimeter.

    Each cluster is a mixture of a few sub-showers, electromagnetic or hadronic, whose profile is a Gamma distribution
    of shape 2, integrated between the layers' edges.
    """
    numbers = parameters("signal_shower")
    total = np.zeros((len(depth), 8), np.float32)
    barrel = in_barrel(abs_eta)
    oblique = np.where(barrel, 1 / np.cosh(abs_eta), np.tanh(abs_eta)).astype(np.float32)
    for _ in range(numbers["subshowers"]):
        electromagnetic = draws.uniform(random, len(depth)) < numbers["em_probability"]
        weight = draws.gamma(random, numbers["subshower_gamma"], len(depth))
        start, length = _profile(random, electromagnetic)
        total += weight[:, None] * _between_layers(depth + start * oblique, length * oblique, barrel)
    total *= np.exp(np.float32(numbers["layer_fluctuation"]) * draws.normal(random, total.shape))
    return _finished(random, total)


def _profile(random: Generator, electromagnetic: NDArray[np.bool_]) -> tuple[FloatArray, FloatArray]:
    em, had = parameters("signal_shower")["em"], parameters("signal_shower")["had"]
    size = len(electromagnetic)
    start = draws.exponential(random, size) * np.where(electromagnetic, em["start"], had["start"]).astype(np.float32)
    spread = np.exp(np.float32(had["length_sigma"]) * draws.normal(random, size))
    length = np.where(electromagnetic, np.float32(em["length"]), np.float32(had["length"]) * spread)
    return start, length


def _between_layers(start: FloatArray, length: FloatArray, barrel: NDArray[np.bool_]) -> FloatArray:
    numbers = parameters("depth")
    edges = np.where(barrel[:, None], numbers["barrel_edges"], numbers["endcap_edges"]).astype(np.float32)
    reduced = np.maximum((edges - start[:, None]) / length[:, None], np.float32(0))
    inside = np.diff(1 - (1 + reduced) * np.exp(-reduced), axis=1)
    return np.delete(inside, 4, axis=1)  # the gap between ECal and HCal measures nothing


def _finished(random: Generator, shares: FloatArray) -> FloatArray:
    numbers = parameters("signal_shower")
    contained = shares.sum(axis=1)
    shares /= np.maximum(contained, np.float32(1e-12))[:, None]
    # Clusters seldom reach over the cryostat gap: most keep the part that is larger by lot.
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

    One layer holds nearly all; the rest goes to a neighbour.
    """
    numbers = parameters("bib_layer")
    region = np.searchsorted(numbers["eta_edges"], abs_eta)
    edges = np.cumsum(np.asarray(numbers["probability"]), axis=1)[region]
    layer = (draws.uniform(random, len(abs_eta))[:, None] * edges[:, -1:] > edges).sum(axis=1)
    narrow, wide = numbers["narrow"], numbers["wide"]
    probability = np.where(abs_eta < narrow["border"], narrow["barrel"], narrow["endcap"])
    sharp = 1 - np.abs(draws.normal(random, len(layer)) * np.float32(narrow["sigma"]))
    blunt = np.maximum(random.beta(wide["beta"][0], wide["beta"][1], len(layer)), wide["minimum"])
    share = np.where(draws.uniform(random, len(layer)) < probability, sharp, blunt).astype(np.float32)
    step = draws.sign(random, len(layer)).astype(int)
    neighbour = np.where((layer + step > 3) | (layer + step < 0), layer - step, layer + step)
    # The barrel has no first hadronic layer.
    neighbour = np.where((neighbour == 0) & (abs_eta < narrow["border"]), 2, neighbour)
    shares = np.zeros((len(layer), 8), np.float32)
    rows = np.arange(len(layer))
    shares[rows, 4 + layer] = share
    shares[rows, 4 + neighbour] += 1 - share
    return shares, layer


def halo_delay(random: Generator, eta: FloatArray, layer: NDArray[np.intp], incoming: NDArray[np.bool_]) -> FloatArray:
    """When a halo muon hits, relative to particles from the collision [ns]: parallel to the beam it takes a short cut.

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
