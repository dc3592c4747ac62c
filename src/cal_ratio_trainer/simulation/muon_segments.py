"""Muon segments in the azimuthal window of a jet: cavern background, punch-through, and halo muons."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cal_ratio_trainer.jets.schema import MISSING_T0
from cal_ratio_trainer.simulation import draws
from cal_ratio_trainer.simulation.draws import FloatArray, Generator, IntArray, parameters
from cal_ratio_trainer.simulation.lists import Axes, Lists

BACKGROUND, PUNCH, HALO, HALO_SHOWER = 0, 1, 2, 3
_ORIGINS = ("background", "punch", "halo", "halo_shower")


@dataclass(frozen=True)
class SegmentRecipe:
    """Numbers of segments of each origin, [jets]; `mismodelling` is 0 for simulation, 1 for data.

    Those of halo muons are parallel to the beam, those of their showers are not.
    """

    background: IntArray
    punch: IntArray
    halo: IntArray
    halo_shower: IntArray
    mismodelling: float


def background_counts(random: Generator, jets: int, mismodelling: float, signal: bool = False) -> IntArray:
    """Segments of the cavern background in the window of a jet, [jets]."""
    numbers = parameters("muon_segments")["background"]
    factor = draws.mismodelled(1.0, parameters("data_minus_mc")["background_segments"], mismodelling)
    return draws.negative_binomial(random, numbers["mean"] * factor, numbers["signal_k" if signal else "k"], jets)


def multijet_punch(random: Generator, jet_pt: FloatArray) -> IntArray:
    """Segments behind a multijet that reaches through the calorimeter, [jets]."""
    numbers = parameters("muon_segments")["punch"]["multijet"]
    return draws.negative_binomial(random, numbers["constant"] + numbers["slope"] * jet_pt, numbers["k"], len(jet_pt))


def signal_punch(random: Generator, jet_pt: FloatArray, depth_share: FloatArray) -> IntArray:
    """Segments behind a decay; `depth_share` is how far into the calorimeter it lies, 0 to 1, [jets]."""
    numbers = parameters("muon_segments")["punch"]["signal"]
    reach = depth_share ** numbers["power"] * np.sqrt(jet_pt / numbers["pt"])
    return draws.negative_binomial(random, numbers["constant"] + numbers["slope"] * reach, numbers["k"], len(jet_pt))


def muon_segments(random: Generator, jets: Axes, recipe: SegmentRecipe) -> Lists:
    """Draws the segments of jets; columns are the ROOT branches without 'MSeg_'.

    One particle leaves several segments, in consecutive chambers or as ambiguous solutions in one of them. So segments
    come in groups, in a random order of the groups.
    """
    by_origin = np.stack([recipe.background, recipe.punch, recipe.halo, recipe.halo_shower], axis=1)
    counts = by_origin.sum(axis=1)
    owners = np.repeat(np.arange(len(jets)), counts)
    origin = np.repeat(np.tile(np.arange(len(_ORIGINS)), len(jets)), by_origin.ravel())
    size, numbers = len(owners), parameters("muon_segments")["group"]
    leads = draws.uniform(random, size) >= numbers["joins_previous"]
    leads[1:] |= (owners[1:] != owners[:-1]) | (origin[1:] != origin[:-1])
    leads[:1] = True
    group = np.cumsum(leads) - 1
    first = np.flatnonzero(leads)
    eta = _eta(random, jets.eta[owners[first]], origin[first])[group]
    apart = np.float32(numbers["eta_scale"]) * draws.laplace(random, size)
    eta += np.where(leads, np.float32(0), apart)
    phi, at_centre = _phi(random, jets.phi[owners], group, first)
    order = np.lexsort((draws.uniform(random, len(first))[group], owners))
    columns = _columns(random, eta, phi, at_centre, origin, recipe.mismodelling)
    return Lists(counts, {name: column[order] for name, column in columns.items()})


def cavern_segments(random: Generator, size: int, mismodelling: float) -> dict[str, FloatArray]:
    """Segments of the cavern background at any azimuth, [size] each; columns as in `muon_segments`."""
    origin = np.full(size, BACKGROUND)
    eta = _eta(random, np.zeros(size, np.float32), origin)
    at_centre = draws.uniform(random, size) < parameters("muon_segments")["sector"]["unmeasured"]
    phi = draws.angle(random, size)
    phi = np.where(at_centre, _sector_centre(phi), phi)
    return _columns(random, eta, phi, at_centre, origin, mismodelling)


def in_order_of_chambers(segments: Lists) -> Lists:
    """The segments of each event with those of the barrel first, as the reconstruction lists them."""
    border = parameters("muon_segments")["barrel_end"]
    order = np.lexsort((np.abs(segments.columns["etaPos"]) > border, segments.owners))
    return Lists(segments.counts, {name: column[order] for name, column in segments.columns.items()})


def _columns(
    random: Generator,
    eta: FloatArray,
    phi: FloatArray,
    at_centre: NDArray[np.bool_],
    origin: NDArray[np.int64],
    mismodelling: float,
) -> dict[str, FloatArray]:
    return {
        "etaPos": eta,
        "phiPos": phi,
        "etaDir": _eta_direction(random, eta, origin),
        "phiDir": _phi_direction(random, phi, at_centre, origin),
        "chiSquared": _chi2(random, origin),
        "t0": _t0(random, origin, mismodelling),
    }


def _eta(random: Generator, jet_eta: FloatArray, origin: NDArray[np.int64]) -> FloatArray:
    numbers, size = parameters("muon_segments"), len(origin)
    flat = draws.uniform(random, size, *numbers["background_eta"]["barrel"])
    left, mode, right = numbers["background_eta"]["endcap"]
    peak = random.triangular(left, mode, right, size)
    share = np.asarray([numbers["background_eta"]["barrel_share"][name] for name in _ORIGINS], np.float32)[origin]
    background = np.where(draws.uniform(random, size) < share, flat, peak) * draws.sign(random, size)
    punch = origin == PUNCH
    distance = numbers["punch_eta_scale"] * draws.laplace(random, int(punch.sum()))
    background[punch] = jet_eta[punch] + distance
    return background.astype(np.float32)


def _phi(
    random: Generator, jet_phi: FloatArray, group: IntArray, first: NDArray[np.intp]
) -> tuple[FloatArray, NDArray[np.bool_]]:
    """Azimuths [segments], and which of them are the centre of a sector for lack of a measurement.

    Drift tubes lie along the azimuth and measure none. There is about one centre of the 16 sectors in a jet's window.
    """
    numbers, size = parameters("muon_segments")["sector"], len(group)
    half = float(numbers["half_width"])
    measured = draws.uniform(random, len(first), -half, half)[group]
    smear = np.float32(numbers["smear"]) * draws.normal(random, size)
    same = draws.uniform(random, size) < numbers["same"]
    measured = np.clip(np.where(same, measured, measured + smear), -half, half)
    at_centre = (draws.uniform(random, len(first)) < numbers["unmeasured"])[group]
    centre = _sector_centre(jet_phi)
    at_centre &= np.abs(centre - jet_phi) < half
    return draws.wrap(np.where(at_centre, centre, jet_phi + measured)), at_centre


def _sector_centre(phi: FloatArray) -> FloatArray:
    sector = np.float32(2 * np.pi / parameters("muon_segments")["sector"]["number"])
    return np.asarray(np.rint(phi / sector) * sector, np.float32)


def _eta_direction(random: Generator, eta: FloatArray, origin: NDArray[np.int64]) -> FloatArray:
    numbers, size = parameters("muon_segments")["eta_dir"], len(eta)
    width = np.where(origin == PUNCH, np.float32(numbers["punch"]), np.float32(numbers["other"]))
    pointing = eta + width * draws.laplace(random, size)
    # A halo muon flies along the beam. Barrel chambers find segments that point to the collision only.
    parallel = (origin == HALO) & (np.abs(eta) > parameters("muon_segments")["barrel_end"])
    along = np.exp(np.float32(numbers["halo"]["sigma"]) * draws.normal(random, int(parallel.sum())))
    pointing[parallel] = np.sign(eta[parallel]) * np.float32(numbers["halo"]["median"]) * along
    return np.asarray(pointing, np.float32)


def _phi_direction(
    random: Generator, phi: FloatArray, at_centre: NDArray[np.bool_], origin: NDArray[np.int64]
) -> FloatArray:
    numbers, size = parameters("muon_segments")["phi_dir"], len(phi)
    exact = at_centre | (draws.uniform(random, size) < numbers["exact"])
    direction = np.where(exact, phi, phi + np.float32(numbers["sigma"]) * draws.normal(random, size))
    flip = np.asarray([numbers["flip"][name] for name in _ORIGINS], np.float32)[origin]
    flipped = draws.uniform(random, size) < flip
    return draws.wrap(direction + np.where(flipped, np.float32(np.pi), np.float32(0)))


def _chi2(random: Generator, origin: NDArray[np.int64]) -> FloatArray:
    numbers = parameters("muon_segments")["chi2"]
    median = np.asarray([numbers[name] for name in _ORIGINS], np.float32)[origin]
    spread = np.exp(np.float32(numbers["sigma"]) * draws.normal(random, len(origin)))
    return np.asarray(np.minimum(median * spread, numbers["maximum"]), np.float32)


def _t0(random: Generator, origin: NDArray[np.int64], mismodelling: float) -> FloatArray:
    numbers, size = parameters("muon_segments")["t0"], len(origin)
    t0 = np.empty(size, np.float32)
    for number, name in enumerate(_ORIGINS):
        chosen = origin == number
        scale, freedom, offset = numbers[name]
        t0[chosen] = scale * draws.student_t(random, freedom, int(chosen.sum())) + offset
    t0 = np.clip(t0, -numbers["clip"], numbers["clip"])
    zero = draws.mismodelled(numbers["zero"]["mc"], numbers["zero"]["data"], mismodelling)
    t0[draws.uniform(random, size) < zero] = 0
    if mismodelling:
        t0[draws.uniform(random, size) < numbers["missing_in_data"] * mismodelling] = MISSING_T0
    return t0
