"""Tracks within 0.2 of a jet's axis: from the primary vertex, from pile-up, and without vertex."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cal_ratio_trainer.simulation import draws
from cal_ratio_trainer.simulation.draws import FloatArray, Generator, IntArray, parameters
from cal_ratio_trainer.simulation.grouped import Grouped, JetArray, log_pt, slots, sum_by

NO_VERTEX = -1.0
"""Value of track_vertex_nParticles for a track without vertex."""


def multijet_primaries(random: Generator, jets: JetArray, softness: FloatArray) -> tuple[IntArray, FloatArray]:
    """Number of primary tracks and their pt sum over the jet's, for multijets, each [jets].

    Args:
        random: random numbers of the file.
        jets: the jets.
        softness: softness of the fragmentation, standard normal, [jets]; softer jets have more tracks.
    """
    count, share = parameters("tracks")["primary"], parameters("tracks")["charged_share"]
    mean = np.maximum(count["constant"] + count["slope"] * log_pt(jets), count["minimum"])
    spread = count["log_mean"] + count["softness"] * softness + count["log_sigma"] * draws.normal(random, len(jets))
    with_pt = np.clip(share["constant"] + share["slope"] * log_pt(jets), *share["clip"])
    charged = share["median"] * np.exp(share["sigma"] * draws.normal(random, len(jets))) * with_pt
    return random.poisson(mean * np.exp(spread)), np.minimum(charged, share["maximum"]).astype(np.float32)


def tracks(
    random: Generator, jets: JetArray, primary: IntArray, charged_share: FloatArray, flavour: str, mismodelling: float
) -> Grouped:
    """Draws the tracks of jets; columns are the ROOT branches without 'track_'.

    Args:
        random: random numbers of the file.
        jets: the jets.
        primary: number of tracks from the primary vertex, [jets].
        charged_share: pt sum of the tracks from the primary vertex over the jet's, [jets].
        flavour: 'signal', 'multijet' or 'bib': chooses pile-up and hit tables.
        mismodelling: difference from simulation in units of the measured one: 0 for simulation, 1 for data.
    """
    numbers, size = parameters("tracks"), len(jets)
    mean, k = numbers["pileup"][flavour]
    counts = primary + draws.negative_binomial(random, mean, k, size)
    owners = np.repeat(np.arange(size), counts)
    is_primary = slots(counts) < primary[owners]
    pt = _momenta(random, charged_share * jets["pt"], owners, is_primary)
    eta, phi = _directions(random, jets, owners, is_primary, pt)
    alpha, beta = numbers["no_vertex_beta"]
    no_vertex_share = random.beta(alpha, beta, size).astype(np.float32)
    no_vertex = draws.uniform(random, len(owners)) < no_vertex_share[owners]
    vertices = numbers["vertex_z_sigma"]
    sigma = np.float32(draws.mismodelled(vertices["mc"], vertices["data"], mismodelling))
    vertex_z = sigma * draws.normal(random, 3 * size).reshape(size, 3)
    primary_particles = _primary_vertex_particles(random, jets["pt"], mismodelling)
    pileup_particles = [pileup_vertex_particles(random, size, flavour) for _ in range(2)]
    particles = np.stack([primary_particles, *pileup_particles], axis=1)
    vertex = np.where(is_primary, 0, 1 + (draws.uniform(random, len(owners)) < 0.5))
    columns: dict[str, NDArray[Any]] = {"pT": pt, "eta": eta, "phi": phi}
    columns["vertex_nParticles"] = np.where(no_vertex, np.float32(NO_VERTEX), particles[owners, vertex])
    columns |= impact(random, pt, no_vertex, mismodelling)
    columns["z0"] = _z0(random, vertex_z[owners, vertex], pt, no_vertex, is_primary)
    columns |= hits(random, no_vertex, flavour, mismodelling)
    return Grouped(counts, columns).where(pt > numbers["smallest_pt"])


def _momenta(random: Generator, charged_pt: FloatArray, owners: IntArray, primary: NDArray[np.bool_]) -> FloatArray:
    """pt of the tracks [GeV]; `charged_pt` [GeV] is the sum over the primary tracks of each jet, [jets]."""
    numbers = parameters("tracks")
    weight = np.exp(np.float32(numbers["weight_sigma"]) * draws.normal(random, len(owners)))
    of_jet = sum_by(owners, np.where(primary, weight, np.float32(0)), len(charged_pt))
    pt = weight * (charged_pt / np.maximum(of_jet, np.float32(1e-9)))[owners]
    wrong = draws.uniform(random, len(owners)) < numbers["mismeasured"]["probability"]
    pt[wrong] *= np.float32(numbers["mismeasured"]["factor"]) * draws.exponential(random, int(wrong.sum()))
    return np.where(primary, np.maximum(pt, _floor(random, len(owners))), pileup_pt(random, len(owners)))


def _floor(random: Generator, size: int) -> FloatArray:
    # Softer tracks are not reconstructed; as in data, many tracks are just above the threshold.
    return np.float32(parameters("tracks")["smallest_pt"]) + np.float32(0.3) * draws.exponential(random, size)


def pileup_pt(random: Generator, size: int) -> FloatArray:
    """pt of pile-up tracks [GeV], all above the threshold, [size]."""
    numbers = parameters("tracks")
    pt = numbers["pileup"]["pt"] * np.exp(np.float32(numbers["pileup"]["sigma"]) * draws.normal(random, size))
    return np.where(pt > numbers["smallest_pt"], pt, _floor(random, size)).astype(np.float32)


def _directions(
    random: Generator, jets: JetArray, owners: IntArray, primary: NDArray[np.bool_], pt: FloatArray
) -> tuple[FloatArray, FloatArray]:
    numbers = parameters("tracks")
    radius = np.float32(numbers["matched_radius"] * 0.999)
    shape = numbers["primary_radius"]
    scale = shape["scale"] / np.sqrt(pt) * ((50 / jets["pt"]) ** shape["power"])[owners]
    in_jet = draws.rayleigh(random, len(owners)) * scale
    in_disc = radius * np.sqrt(draws.uniform(random, len(owners)))
    distance = np.where(primary & (in_jet < radius), in_jet, in_disc).astype(np.float32)
    turn = draws.angle(random, len(owners))
    eta = jets["eta"][owners] + distance * np.cos(turn)
    return eta, draws.wrap(jets["phi"][owners] + distance * np.sin(turn))


def _primary_vertex_particles(random: Generator, jet_pt: FloatArray, mismodelling: float) -> FloatArray:
    """Number of tracks of the primary vertex, [jets]."""
    numbers = parameters("tracks")["vertex_particles_primary"]
    count = np.maximum(numbers["mean"] + numbers["sigma"] * draws.normal(random, len(jet_pt)), numbers["minimum"])
    count = count * np.where(jet_pt < numbers["below"], numbers["factor"], 1.0)
    factor = draws.mismodelled(1.0, parameters("data_minus_mc")["vertex_particles"], mismodelling)
    return np.asarray(np.rint(count * factor), np.float32)


def pileup_vertex_particles(random: Generator, size: int, flavour: str) -> FloatArray:
    """Number of tracks of a pile-up vertex, [size]."""
    numbers = parameters("tracks")["vertex_particles_pileup"]
    count = numbers[flavour] * np.exp(numbers["sigma"] * draws.normal(random, size))
    return np.asarray(np.maximum(np.rint(count), 2), np.float32)


def impact(
    random: Generator, pt: FloatArray, no_vertex: NDArray[np.bool_], mismodelling: float
) -> dict[str, FloatArray]:
    """Transverse impact parameter d0 [mm] and the fit's chi squared."""
    numbers, size = parameters("tracks"), len(pt)
    near, far = numbers["d0_vertex"], numbers["d0_no_vertex"]
    at_vertex = (near["constant"] + near["slope"] / pt) * draws.student_t(random, near["freedom"], size)
    narrow = draws.uniform(random, size) < far["narrow"]
    elsewhere = np.where(narrow, far["sigma"] * draws.normal(random, size), far["scale"] * draws.laplace(random, size))
    d0 = np.where(no_vertex, elsewhere, at_vertex) + parameters("data_minus_mc")["d0_offset"] * mismodelling
    fit = numbers["chi2"]
    mean = np.where(no_vertex, fit["no_vertex"][0], fit["vertex"][0])
    sigma = np.where(no_vertex, fit["no_vertex"][1], fit["vertex"][1])
    chi2 = np.abs(mean + sigma * draws.normal(random, size)) + fit["offset"]
    bad = draws.uniform(random, size) < fit["tail_probability"]
    chi2 += np.where(bad, fit["tail_scale"] * draws.exponential(random, size), 0)
    return {"d0": d0.astype(np.float32), "chiSquared": chi2.astype(np.float32)}


def _z0(
    random: Generator, vertex_z: FloatArray, pt: FloatArray, no_vertex: NDArray[np.bool_], primary: NDArray[np.bool_]
) -> FloatArray:
    numbers, size = parameters("tracks"), len(pt)
    at = numbers["z0_vertex"]
    with_vertex = vertex_z + (at["constant"] + at["slope"] / pt) * draws.normal(random, size)
    off = numbers["z0_no_vertex"]
    near = vertex_z + off["scale"] * draws.student_t(random, off["freedom"], size)
    anywhere = off["sigma"] * draws.normal(random, size)
    is_near = primary & (draws.uniform(random, size) < off["near"])
    z0 = np.where(no_vertex, np.where(is_near, near, anywhere), with_vertex)
    return np.asarray(np.clip(z0, -off["maximum"], off["maximum"]), np.float32)


def hits(random: Generator, no_vertex: NDArray[np.bool_], flavour: str, mismodelling: float) -> dict[str, NDArray[Any]]:
    """Hits, holes and shared hits in pixel and SCT detectors, [tracks] each."""
    table: Mapping[str, Any] = parameters("track_hits")
    size = len(no_vertex)
    other = "bib" if flavour == "bib" else "other"

    def of_origin(name: str) -> Any:
        return draws.mismodelled(table[name]["mc"], table[name]["data"], mismodelling)

    def by_vertex(name: str, with_vertex: Any, without: Any) -> NDArray[Any]:
        drawn = draws.choose(random, with_vertex, size)
        drawn[no_vertex] = draws.choose(random, without, int(no_vertex.sum()))
        return drawn.astype(np.float32)

    return {
        "PixelShared": draws.choose(random, table["pixel_shared"], size).astype(np.float32),
        "PixelHoles": by_vertex("PixelHoles", table["pixel_holes_vertex"], table["pixel_holes_no_vertex"][other]),
        "PixelHits": by_vertex("PixelHits", of_origin("pixel_vertex"), of_origin("pixel_no_vertex")),
        "SCTShared": draws.choose(random, table["sct_shared"][flavour], size).astype(np.float32),
        "SCTHoles": by_vertex("SCTHoles", of_origin("sct_holes_vertex"), table["sct_holes_no_vertex"][other]),
        "SCTHits": by_vertex("SCTHits", table["sct_vertex"], table["sct_no_vertex"]),
    }
