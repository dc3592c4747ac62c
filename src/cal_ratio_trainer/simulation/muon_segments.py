"""Muon segments in the azimuthal window of a jet: cavern background, punch-through, and halo muons."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cal_ratio_trainer.jets.schema import MISSING_T0
from cal_ratio_trainer.simulation import draws
from cal_ratio_trainer.simulation.draws import FloatArray, Generator, IntArray, parameters
from cal_ratio_trainer.simulation.grouped import Grouped, JetArray

BACKGROUND, PUNCH, HALO, HALO_SHOWER = 0, 1, 2, 3
_ORIGINS = ("background", "punch", "halo", "halo_shower")


def background_counts(random: Generator, jets: int, mismodelling: float, signal: bool = False) -> IntArray:
    """Segments of the cavern background in the window of a jet, [jets]."""
    numbers = parameters("muon_segments")["background"]
    factor = draws.mismodelled(1.0, parameters("data_minus_mc")["background_segments"], mismodelling)
    return draws.negative_binomial(random, numbers["mean"] * factor, numbers["signal_k" if signal else "k"], jets)


def muon_segments(
    random: Generator,
    jets: JetArray,
    *,
    background: IntArray,
    punch: ArrayLike = 0,
    halo: ArrayLike = 0,
    halo_shower: ArrayLike = 0,
    mismodelling: float,
) -> Grouped:
    """Draws the segments of jets; columns are the ROOT branches without 'MSeg_'.

    One particle leaves several segments, in consecutive chambers or as ambiguous solutions in one of them. So segments
    come in groups, in a random order of the groups.

    Args:
        random: random numbers of the file.
        jets: the jets.
        background: number of segments of the cavern background, [jets].
        punch: number of segments behind the calorimeter, [jets].
        halo: number of segments of halo muons, parallel to the beam, [jets].
        halo_shower: number of segments of showers of halo muons, not parallel to the beam, [jets].
        mismodelling: 0 for simulation, 1 for data.
    """
    by_origin = np.stack(np.broadcast_arrays(background, punch, halo, halo_shower), axis=1)
    counts = by_origin.sum(axis=1)
    owners = np.repeat(np.arange(len(jets)), counts)
    origin = np.repeat(np.tile(np.arange(len(_ORIGINS)), len(jets)), by_origin.ravel())
    size, numbers = len(owners), parameters("muon_segments")["group"]
    leads = draws.uniform(random, size) >= numbers["joins_previous"]
    leads[1:] |= (owners[1:] != owners[:-1]) | (origin[1:] != origin[:-1])
    leads[:1] = True
    group = np.cumsum(leads) - 1
    first = np.flatnonzero(leads)
    eta = _eta(random, jets["eta"][owners[first]], origin[first])[group]
    apart = np.float32(numbers["eta_scale"]) * draws.laplace(random, size)
    eta += np.where(leads, np.float32(0), apart)
    phi, at_centre = _phi(random, jets["phi"][owners], group, first)
    order = np.lexsort((draws.uniform(random, len(first))[group], owners))
    return Grouped(counts, _columns(random, eta, phi, at_centre, origin, mismodelling)).ordered(order)


def cavern_segments(random: Generator, size: int, mismodelling: float) -> dict[str, FloatArray]:
    """Segments of the cavern background at any azimuth, [size] each; columns as in `muon_segments`."""
    origin = np.full(size, BACKGROUND)
    eta = _eta(random, np.zeros(size, np.float32), origin)
    at_centre = draws.uniform(random, size) < parameters("muon_segments")["sector"]["unmeasured"]
    phi = draws.angle(random, size)
    phi = np.where(at_centre, _sector_centre(phi), phi)
    return _columns(random, eta, phi, at_centre, origin, mismodelling)


def _columns(
    random: Generator,
    eta: FloatArray,
    phi: FloatArray,
    at_centre: NDArray[np.bool_],
    origin: NDArray[np.int64],
    mismodelling: float,
) -> dict[str, FloatArray]:
    numbers = parameters("muon_segments")["chi2"]
    columns = {"etaPos": eta, "phiPos": phi, "etaDir": _eta_direction(random, eta, origin)}
    columns["phiDir"] = _phi_direction(random, phi, at_centre, origin)
    spread = np.exp(np.float32(numbers["sigma"]) * draws.normal(random, len(origin)))
    columns["chiSquared"] = np.minimum(_by_origin(numbers, origin) * spread, numbers["maximum"])
    columns["t0"] = _t0(random, origin, mismodelling)
    return columns


def _by_origin(numbers: Mapping[str, float], origin: NDArray[np.int64]) -> FloatArray:
    """A number of the origin of each segment, [segments]."""
    return np.asarray([numbers[name] for name in _ORIGINS], np.float32)[origin]


def _eta(random: Generator, jet_eta: FloatArray, origin: NDArray[np.int64]) -> FloatArray:
    numbers, size = parameters("muon_segments"), len(origin)
    flat = draws.uniform(random, size, *numbers["background_eta"]["barrel"])
    left, mode, right = numbers["background_eta"]["endcap"]
    peak = random.triangular(left, mode, right, size)
    share = _by_origin(numbers["background_eta"]["barrel_share"], origin)
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
    flipped = draws.uniform(random, size) < _by_origin(numbers["flip"], origin)
    return draws.wrap(direction + np.where(flipped, np.float32(np.pi), np.float32(0)))


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
