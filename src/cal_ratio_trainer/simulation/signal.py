"""Signal events and the constituents of their jets.

A scalar Phi decays to two long-lived particles, at least one of which decays in the calorimeter.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cal_ratio_trainer.simulation import draws, muon_segments
from cal_ratio_trainer.simulation.clusters import EM, HAD, MIXED, ClusterRecipe, Draft, draft, times, types
from cal_ratio_trainer.simulation.draws import FloatArray, Generator, IntArray, parameters
from cal_ratio_trainer.simulation.events import (
    DECAY,
    MULTIJET,
    Decays,
    EventDraft,
    JetColumn,
    from_columns,
    nearest_selected,
)
from cal_ratio_trainer.simulation.layers import (
    SPEED_OF_LIGHT,
    Energies,
    depth_at,
    in_barrel,
    ordinary_shares,
    shower_shares,
)
from cal_ratio_trainer.simulation.lists import Axes, Constituents
from cal_ratio_trainer.simulation.multijet import cluster_lists, extra_jet, finished, multijet_hard_counts, sum_share
from cal_ratio_trainer.simulation.muon_segments import SegmentRecipe
from cal_ratio_trainer.simulation.tracks import TrackRecipe, multijet_primaries, tracks


@dataclass(frozen=True)
class MassPoint:
    """Masses of Phi and of the long-lived particle [GeV], proper decay length [m]."""

    mH: float
    mS: float
    ctau: float


@dataclass(frozen=True)
class Particles:
    """Long-lived particles, each [particles]: momentum, boost and place of decay [mm] (Lz signed)."""

    axes: Axes
    boost: FloatArray
    beta: FloatArray
    transverse: FloatArray
    longitudinal: FloatArray


def signal_events(random: Generator, size: int, point: MassPoint) -> EventDraft:
    """Simulates `size` events; returns those with a decay in the fiducial region, with their exact share of all events.

    One of the two decays is drawn inside the fiducial region and the event accepted with the probability of that; the
    other decays freely. An event in which both lie inside is reached by either, and halved.
    """
    momenta = _pair(random, size, point)
    first, probability = _decay_inside(random, *momenta[0], point)
    second = _decay_freely(random, *momenta[1], point)
    largest = parameters("signal_event")["largest_acceptance"]
    accept = draws.uniform(random, size) * largest < probability
    accept &= ~is_fiducial(second) | (draws.uniform(random, size) < 0.5)
    rows = np.flatnonzero(accept)
    pair = (_rows(first, rows), _rows(second, rows))
    jets = [_jet(random, each, point) for each in pair]
    jets.append(extra_jet(random, len(rows)))
    return from_columns(jets, _truth(pair), size / (2 * largest))


def kept_in_signal(draft: EventDraft) -> IntArray:
    """Number of jets of each event that convert keeps as signal, [events]: a jet with two decays counts once."""
    fiducial = draft.per_event["llp_fiducial"].astype(bool)
    wanted = fiducial.sum(axis=1)
    eta, phi = (draft.per_event[name][fiducial] for name in ("llp_eta", "llp_phi"))
    targets = Axes(np.ones(len(eta), np.float32), eta, phi)
    jet = nearest_selected(draft, targets, wanted)
    return np.bincount(draft.event[np.unique(jet[jet >= 0])], minlength=len(draft))


def is_fiducial(particles: Particles) -> NDArray[np.bool_]:
    """True if a decay is in the region in which convert looks for signal: the outer ECal or the HCal."""
    numbers = parameters("signal_event")["fiducial"]
    abs_eta = np.abs(particles.axes.eta)
    inside_barrel = (particles.transverse > numbers["barrel"][0]) & (particles.transverse < numbers["barrel"][1])
    along = np.abs(particles.longitudinal)
    inside_endcap = (along > numbers["endcap"][0]) & (along < numbers["endcap"][1])
    inside_endcap &= abs_eta > numbers["eta_border"]
    return np.asarray(np.where(abs_eta < numbers["eta_border"], inside_barrel, inside_endcap))


def _pair(random: Generator, size: int, point: MassPoint) -> tuple[tuple[Axes, FloatArray], tuple[Axes, FloatArray]]:
    """Axes and total momentum [GeV] of the two particles of each event: an isotropic decay, boosted exactly."""
    numbers = parameters("signal_event")
    pt_shape, rapidity_shape = numbers["phi_pt"], numbers["phi_rapidity"]
    mean_pt = pt_shape["mean_at_125"] * (point.mH / 125) ** pt_shape["power"]
    pt = draws.gamma(random, pt_shape["k"], size).astype(np.float64) * mean_pt / pt_shape["k"]
    width = rapidity_shape["sigma_at_125"] + rapidity_shape["slope"] * np.log(point.mH / 125)
    rapidity = width * draws.normal(random, size).astype(np.float64)
    turn = draws.angle(random, size)
    transverse_mass = np.hypot(pt, point.mH)
    parent = np.stack(
        [pt * np.cos(turn), pt * np.sin(turn), transverse_mass * np.sinh(rapidity), transverse_mass * np.cosh(rapidity)]
    )
    cosine, azimuth = draws.uniform(random, size, -1.0, 1.0).astype(np.float64), draws.angle(random, size)
    momentum = np.sqrt(point.mH**2 / 4 - point.mS**2)
    sine = np.sqrt(1 - cosine**2)
    rest = momentum * np.stack([sine * np.cos(azimuth), sine * np.sin(azimuth), cosine])
    return _axes(_boosted(rest, point.mH / 2, parent, point.mH)), _axes(_boosted(-rest, point.mH / 2, parent, point.mH))


def _boosted(rest: NDArray[np.float64], energy: float, parent: NDArray[np.float64], mass: float) -> NDArray[np.float64]:
    along = (rest * parent[:3]).sum(axis=0)
    factor = (along / (parent[3] + mass) + energy) / mass
    return np.asarray(rest + factor * parent[:3])


def _axes(momentum: NDArray[np.float64]) -> tuple[Axes, FloatArray]:
    pt = np.hypot(momentum[0], momentum[1])
    eta, phi = np.arcsinh(momentum[2] / np.maximum(pt, 1e-9)), np.arctan2(momentum[1], momentum[0])
    axes = Axes(pt.astype(np.float32), eta.astype(np.float32), phi.astype(np.float32))
    return axes, np.sqrt((momentum**2).sum(axis=0)).astype(np.float32)


def _decay_inside(
    random: Generator, axes: Axes, momentum: FloatArray, point: MassPoint
) -> tuple[Particles, FloatArray]:
    """Decays in the fiducial region, and the probability that a free one lies there."""
    numbers = parameters("signal_event")["fiducial"]
    barrel = np.abs(axes.eta) < numbers["eta_border"]
    low, high = (np.where(barrel, numbers["barrel"][i], numbers["endcap"][i]) for i in (0, 1))
    per_length = np.where(barrel, 1 / np.cosh(axes.eta), np.abs(np.tanh(axes.eta)))
    mean = momentum / point.mS * point.ctau * 1000
    survive = np.exp(-low / per_length / mean)
    probability = survive - np.exp(-high / per_length / mean)
    drawn = survive - draws.uniform(random, len(axes)) * probability
    length = -mean * np.log(np.maximum(drawn, 1e-300))
    return _particles(axes, momentum, length, point), probability.astype(np.float32)


def _decay_freely(random: Generator, axes: Axes, momentum: FloatArray, point: MassPoint) -> Particles:
    length = momentum / point.mS * point.ctau * 1000 * draws.exponential(random, len(axes))
    return _particles(axes, momentum, length, point)


def _particles(axes: Axes, momentum: FloatArray, length: NDArray[np.floating], point: MassPoint) -> Particles:
    boost = momentum / point.mS
    transverse = length / np.cosh(axes.eta)
    return Particles(
        axes,
        boost.astype(np.float32),
        (boost / np.sqrt(1 + boost**2)).astype(np.float32),
        transverse.astype(np.float32),
        (length * np.tanh(axes.eta)).astype(np.float32),
    )


def _rows(particles: Particles, rows: NDArray[np.intp]) -> Particles:
    others = (particles.boost, particles.beta, particles.transverse, particles.longitudinal)
    return Particles(particles.axes.take(rows), *(column[rows] for column in others))


def _jet(random: Generator, particles: Particles, point: MassPoint) -> JetColumn:
    """The jet that the calorimeter sees: of a decay inside it, of one before it (an ordinary jet), or none."""
    numbers = parameters("signal_event")
    fiducial = is_fiducial(particles)
    barrel = in_barrel(np.abs(particles.axes.eta))
    place = np.where(barrel, particles.transverse, np.abs(particles.longitudinal))
    end = np.where(barrel, numbers["calorimeter_end"]["barrel"], numbers["calorimeter_end"]["endcap"])
    lever = np.clip((end - place) / end, 0, 1)
    opening = np.minimum(
        numbers["opening"]["factor"] * point.mS / np.maximum(particles.axes.pt, 1), numbers["opening"]["maximum"]
    )
    opening = (opening * lever).astype(np.float32)
    axes = _measured(random, particles.axes, opening, fiducial)
    length = np.hypot(particles.transverse, particles.longitudinal)
    delay = (length * (1 / particles.beta - 1) / SPEED_OF_LIGHT).astype(np.float32)
    decays = Decays(particles.transverse, np.abs(particles.longitudinal), opening, delay)
    maker = np.where(fiducial, DECAY, MULTIJET).astype(np.int8)
    there = (place < end) & (axes.pt > 8) & (np.abs(axes.eta) < 4.7)
    return axes, maker, decays, there


def _measured(random: Generator, axes: Axes, opening: FloatArray, fiducial: NDArray[np.bool_]) -> Axes:
    numbers = parameters("signal_event")
    size, response, wide = len(axes), numbers["response"], numbers["opening"]
    scale = np.where(
        fiducial, draws.uniform(random, size, response["low"], response["high"]), numbers["inner_response"]
    )
    scale = scale * np.exp(np.float32(response["sigma"]) * draws.normal(random, size))
    lost = draws.uniform(random, size, *wide["wide_share"])
    scale = scale * np.where(opening > wide["wide"], lost, np.float32(1))
    smear = numbers["direction_smear"]
    width = smear["constant"] + smear["slope"] * np.minimum(opening, smear["opening_maximum"])
    eta = axes.eta + width * draws.normal(random, size)
    phi = draws.wrap((axes.phi + width * draws.normal(random, size)).astype(np.float32))
    return Axes((axes.pt * scale).astype(np.float32), eta.astype(np.float32), phi)


def _truth(pair: tuple[Particles, Particles]) -> dict[str, NDArray[np.generic]]:
    """The two particles of each event as [events, 2], under the names of the ROOT branches."""
    columns: dict[str, list[NDArray[np.generic]]] = {
        "llp_pT": [each.axes.pt for each in pair],
        "llp_eta": [each.axes.eta for each in pair],
        "llp_phi": [each.axes.phi for each in pair],
        "llp_Lxy": [each.transverse for each in pair],
        "llp_Lz": [each.longitudinal for each in pair],
        "llp_fiducial": [is_fiducial(each) for each in pair],
    }
    return {name: np.stack(values, axis=1) for name, values in columns.items()}


def signal_jets(random: Generator, jets: Axes, decays: Decays) -> Constituents:
    """Draws the constituents of jets, one per decay.

    A share of them overlaps with activity from the collision: then part of the energy and the tracks are a multijet's.
    """
    overlapping = draws.uniform(random, len(jets)) < parameters("overlap")["signal_with_prompt_activity"]
    prompt_share = draws.uniform(random, len(jets), *parameters("overlap")["prompt_energy_share"]) * overlapping
    recipe, displaced_count = _recipe(random, jets, decays, overlapping)
    clusters = draft(random, jets, recipe)
    displaced = clusters.hard & (clusters.slot < displaced_count[clusters.owners])
    energies, pt = _layers(random, jets, decays, clusters, displaced)
    delay = np.where(displaced, decays.delay[clusters.owners], np.float32(0))
    soft_tail = np.float32(parameters("time")["tail_scale"]["signal_soft"])
    tail = np.where(clusters.hard, np.float32(1), soft_tail)
    time = times(random, pt, delay, tail)
    return Constituents(
        cluster_lists(clusters, pt, energies, time),
        tracks(random, jets, _track_recipe(random, jets, overlapping, prompt_share)),
        muon_segments.muon_segments(random, jets, _segment_recipe(random, jets, decays)),
    )


def _recipe(
    random: Generator, jets: Axes, decays: Decays, overlapping: NDArray[np.bool_]
) -> tuple[ClusterRecipe, NDArray[np.int64]]:
    numbers, size = parameters("clusters")["signal"], len(jets)
    opening = np.minimum(decays.opening, parameters("signal_event")["direction_smear"]["opening_maximum"])
    displaced = 1 + random.poisson(numbers["hard"]["constant"] + numbers["hard"]["slope"] * opening)
    prompt = np.where(overlapping, multijet_hard_counts(random, jets, 0.6), 0)
    soft = numbers["soft"]
    recipe = ClusterRecipe(
        hard=displaced + prompt,
        soft=draws.negative_binomial(random, soft["mean"], soft["k"], size),
        soft_pt=(soft["pt"], soft["sigma"]),
        spread=np.full(size, numbers["spread"], np.float32),
        lead_boost=np.full(size, numbers["lead_boost"], np.float32),
        sum_share=sum_share(random, jets, numbers["sum_share"]),
        angle=(
            (numbers["angle"]["constant"] + numbers["angle"]["opening"] * opening).astype(np.float32),
            numbers["angle"]["slope"],
        ),
    )
    return recipe, displaced


def _layers(
    random: Generator, jets: Axes, decays: Decays, clusters: Draft, displaced: NDArray[np.bool_]
) -> tuple[FloatArray, FloatArray]:
    above = parameters("signal_shower")["above"]
    rows = np.flatnonzero(displaced & (clusters.lead | (clusters.pt > above)))
    owners = clusters.owners[rows]
    abs_eta = np.abs(clusters.eta)
    depth = depth_at(decays.transverse, decays.longitudinal, np.abs(jets.eta))
    of_shower = shower_shares(random, depth[owners], np.abs(jets.eta)[owners])
    kind = types(random, clusters, "signal")
    in_em = of_shower[:, :4].sum(axis=1)
    kind[rows] = np.where(in_em > 0.9, EM, np.where(in_em < 0.1, HAD, MIXED))
    energies = Energies(clusters.pt, abs_eta, kind, displaced, np.zeros_like(displaced))
    shares = ordinary_shares(random, energies)
    shares[rows] = of_shower
    return finished(random, energies, shares)


def _track_recipe(
    random: Generator, jets: Axes, overlapping: NDArray[np.bool_], prompt_share: FloatArray
) -> TrackRecipe:
    of_prompt = Axes(np.maximum(jets.pt * prompt_share, 1), jets.eta, jets.phi)
    primary, charged = multijet_primaries(random, of_prompt)
    return TrackRecipe(
        np.where(overlapping, primary, 0),
        (charged * np.maximum(prompt_share, 0.02)).astype(np.float32),
        "signal",
        0.0,
    )


def _segment_recipe(random: Generator, jets: Axes, decays: Decays) -> SegmentRecipe:
    fiducial = parameters("signal_event")["fiducial"]
    barrel = in_barrel(np.abs(jets.eta))
    low, high = (np.where(barrel, fiducial["barrel"][i], fiducial["endcap"][i]) for i in (0, 1))
    place = np.where(barrel, decays.transverse, decays.longitudinal)
    depth_share = np.clip((place - low) / (high - low), 0, 1).astype(np.float32)
    return SegmentRecipe(
        background=muon_segments.background_counts(random, len(jets), 0.0, signal=True),
        punch=muon_segments.signal_punch(random, jets.pt, depth_share),
        halo=np.zeros(len(jets), np.int64),
        mismodelling=0.0,
    )
