"""Muon segments in the azimuthal window of a jet: cavern background, punch-through, and halo muons."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cal_ratio_trainer.jets.schema import MISSING_T0
from cal_ratio_trainer.simulation import draws
from cal_ratio_trainer.simulation.draws import FloatArray, Generator, IntArray, parameters
from cal_ratio_trainer.simulation.lists import Axes, Lists

BACKGROUND, PUNCH, HALO = 0, 1, 2
_ORIGINS = ("background", "punch", "halo")


@dataclass(frozen=True)
class SegmentRecipe:
    """Numbers of segments of each origin, [jets]; `narrow` is the share of the window that they fill, and
    `mismodelling` 0 for simulation or 1 for data."""

    background: IntArray
    punch: IntArray
    halo: IntArray
    mismodelling: float
    narrow: float = 1.0


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
    """Draws the segments of jets; columns are the ROOT branches without 'MSeg_'."""
    by_origin = np.stack([recipe.background, recipe.punch, recipe.halo], axis=1)
    counts = by_origin.sum(axis=1)
    owners = np.repeat(np.arange(len(jets)), counts)
    origin = np.repeat(np.tile(np.arange(3), len(jets)), by_origin.ravel())
    eta = _eta(random, jets.eta[owners], origin)
    phi = _phi(random, jets, owners, recipe.narrow)
    return Lists(counts, _columns(random, eta, phi, origin, recipe.mismodelling))


def cavern_segments(random: Generator, size: int, mismodelling: float) -> dict[str, FloatArray]:
    """Segments of the cavern background at any azimuth, [size] each; columns as in `muon_segments`."""
    origin = np.full(size, BACKGROUND)
    eta = _eta(random, np.zeros(size, np.float32), origin)
    return _columns(random, eta, draws.angle(random, size), origin, mismodelling)


def _columns(
    random: Generator, eta: FloatArray, phi: FloatArray, origin: NDArray[np.int64], mismodelling: float
) -> dict[str, FloatArray]:
    return {
        "etaPos": eta,
        "phiPos": phi,
        "etaDir": _eta_direction(random, eta, origin),
        "phiDir": _phi_direction(random, phi, origin),
        "chiSquared": _chi2(random, origin),
        "t0": _t0(random, origin, mismodelling),
    }


def _eta(random: Generator, jet_eta: FloatArray, origin: NDArray[np.int64]) -> FloatArray:
    numbers, size = parameters("muon_segments"), len(origin)
    flat = draws.uniform(random, size, *numbers["background_eta"]["flat"])
    left, mode, right = numbers["background_eta"]["triangular"]
    peak = random.triangular(left, mode, right, size)
    in_peak = draws.uniform(random, size) < numbers["background_eta"]["triangular_share"]
    background = np.where(in_peak, peak, flat) * draws.sign(random, size)
    punch = jet_eta + numbers["punch_eta_scale"] * draws.laplace(random, size)
    return np.where(origin == PUNCH, punch, background).astype(np.float32)


def _phi(random: Generator, jets: Axes, owners: IntArray, narrow: float) -> FloatArray:
    # The chambers are sectors: segments of a jet share one or two azimuths.
    numbers, size = parameters("muon_segments")["sector"], len(owners)
    half = float(numbers["half_width"] * narrow)
    sectors = draws.uniform(random, 2 * len(jets), -half, half).reshape(-1, 2)
    drawn = draws.uniform(random, size)
    first, second = sectors[owners, 0], sectors[owners, 1]
    smear = np.float32(numbers["smear"]) * draws.normal(random, size)
    flat = draws.uniform(random, size, -half, half)
    at = np.where(drawn < numbers["first"], first, second) + smear
    at = np.where((drawn > numbers["first"] + numbers["second"]) | (np.abs(at) > half), flat, at)
    return draws.wrap(jets.phi[owners] + at)


def _eta_direction(random: Generator, eta: FloatArray, origin: NDArray[np.int64]) -> FloatArray:
    numbers, size = parameters("muon_segments")["eta_dir"], len(eta)
    width = np.where(origin == PUNCH, np.float32(numbers["punch"]), np.float32(numbers["other"]))
    pointing = eta + width * draws.laplace(random, size)
    factor = draws.uniform(random, size, *numbers["halo_factor"])
    offset = numbers["halo_minimum"] + numbers["halo_scale"] * draws.exponential(random, size)
    parallel = eta * factor + draws.sign(random, size) * numbers["halo_offset"] * offset
    is_parallel = (origin == HALO) & (draws.uniform(random, size) < numbers["halo_share"])
    return np.where(is_parallel, parallel, pointing).astype(np.float32)


def _phi_direction(random: Generator, phi: FloatArray, origin: NDArray[np.int64]) -> FloatArray:
    numbers, size = parameters("muon_segments")["phi_dir"], len(phi)
    exact = draws.uniform(random, size) < numbers["exact"]
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
    of_halo = origin == HALO
    scale, freedom, offset = numbers["other"]
    t0 = scale * draws.student_t(random, freedom, size) + offset
    scale, freedom, offset = numbers["halo"]
    t0[of_halo] = scale * draws.student_t(random, freedom, int(of_halo.sum())) + offset
    t0 = np.clip(t0, -numbers["clip"], numbers["clip"])
    zero = draws.mismodelled(numbers["zero"]["mc"], numbers["zero"]["data"], mismodelling)
    t0[draws.uniform(random, size) < zero] = 0
    if mismodelling:
        t0[draws.uniform(random, size) < numbers["missing_in_data"] * mismodelling] = MISSING_T0
    return np.asarray(t0, np.float32)
