"""Signal events and the constituents of their jets.

A scalar Phi decays to two long-lived particles, at least one of which decays in the calorimeter.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cal_ratio_trainer.simulation import draws
from cal_ratio_trainer.simulation.clusters import (
    EM,
    HAD,
    MIXED,
    cluster_columns,
    clusters_of_jets,
    multijet_hard_counts,
    sum_share,
    times,
    types,
)
from cal_ratio_trainer.simulation.draws import FloatArray, Generator, IntArray, parameters
from cal_ratio_trainer.simulation.events import EventDraft, from_columns, nearest_selected
from cal_ratio_trainer.simulation.grouped import DECAY, MULTIJET, Constituents, JetArray, jet_array
from cal_ratio_trainer.simulation.layers import (
    SPEED_OF_LIGHT,
    depth_at,
    in_barrel,
    noisy_energies,
    ordinary_shares,
    shower_shares,
)
from cal_ratio_trainer.simulation.multijet import extra_jet
from cal_ratio_trainer.simulation.muon_segments import background_counts, muon_segments
from cal_ratio_trainer.simulation.tracks import multijet_primaries, tracks

PARTICLE = np.dtype([(name, np.float32) for name in ("pT", "eta", "phi", "p", "beta", "Lxy", "Lz")])
"""A long-lived particle: transverse momentum and momentum [GeV], direction, velocity over the speed of light, and the
place of its decay [mm], of which Lz is signed. Its momentum comes first, its decay later."""

Particles = NDArray[np.void]
"""Particles, [particles] of type PARTICLE."""


@dataclass(frozen=True)
class MassPoint:
    """Masses of Phi and of the long-lived particle [GeV], proper decay length [m]."""

    mH: float
    mS: float
    ctau: float


def signal_events(random: Generator, size: int, point: MassPoint) -> EventDraft:
    """Simulates `size` events; returns those with a decay in the fiducial region, with their exact share of all events.

    One of the two decays is drawn inside the fiducial region and the event accepted with the probability of that; the
    other decays freely. An event in which both lie inside is reached by either, and halved.
    """
    first, second = particle_pair(random, size, point)
    probability = _decay_inside(random, first, point)
    decay_freely(random, second, point)
    largest = parameters("signal_event")["largest_acceptance"]
    accept = draws.uniform(random, size) * largest < probability
    accept &= ~is_fiducial(second) | (draws.uniform(random, size) < 0.5)
    pair = (first[accept], second[accept])
    jets = [_jet(random, each, point) for each in pair]
    jets.append(extra_jet(random, len(pair[0])))
    truth = np.stack(pair, axis=1)
    columns = {f"llp_{name}": truth[name] for name in ("pT", "eta", "phi", "Lxy", "Lz")}
    return from_columns(jets, columns | {"llp_fiducial": is_fiducial(truth)}, size / (2 * largest))


def kept_in_signal(draft: EventDraft) -> IntArray:
    """Number of jets of each event that convert keeps as signal, [events]: a jet with two decays counts once."""
    fiducial = draft.per_event["llp_fiducial"]
    targets = {name: draft.per_event[f"llp_{name}"][fiducial] for name in ("eta", "phi")}
    jet = nearest_selected(draft, targets, fiducial.sum(axis=1))
    return np.bincount(draft.event[np.unique(jet[jet >= 0])], minlength=len(draft))


def is_fiducial(particles: Particles) -> NDArray[np.bool_]:
    """True if a decay is in the region in which convert looks for signal: the outer ECal or the HCal."""
    numbers = parameters("signal_event")["fiducial"]
    abs_eta, along = np.abs(particles["eta"]), np.abs(particles["Lz"])
    inside_barrel = (particles["Lxy"] > numbers["barrel"][0]) & (particles["Lxy"] < numbers["barrel"][1])
    inside_endcap = (along > numbers["endcap"][0]) & (along < numbers["endcap"][1])
    inside_endcap &= abs_eta > numbers["eta_border"]
    return np.asarray(np.where(abs_eta < numbers["eta_border"], inside_barrel, inside_endcap))


def particle_pair(random: Generator, size: int, point: MassPoint) -> tuple[Particles, Particles]:
    """Momenta of the two particles of each event: an isotropic decay, boosted exactly."""
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
    first, second = (_particles(boosted(each, point.mH / 2, parent, point.mH)) for each in (rest, -rest))
    return first, second


def boosted(rest: NDArray[np.float64], energy: float, parent: NDArray[np.float64], mass: float) -> NDArray[np.float64]:
    """Momenta [3, n] in the frame of the parents' momenta and energies [4, n] of momenta in their rest frame."""
    along = (rest * parent[:3]).sum(axis=0)
    factor = (along / (parent[3] + mass) + energy) / mass
    return np.asarray(rest + factor * parent[:3])


def _particles(momentum: NDArray[np.float64]) -> Particles:
    particles = np.zeros(momentum.shape[1], PARTICLE)
    pt = np.hypot(momentum[0], momentum[1])
    particles["pT"], particles["phi"] = pt, np.arctan2(momentum[1], momentum[0])
    particles["eta"] = np.arcsinh(momentum[2] / np.maximum(pt, 1e-9))
    particles["p"] = np.sqrt((momentum**2).sum(axis=0))
    return particles


def _decay_inside(random: Generator, particles: Particles, point: MassPoint) -> FloatArray:
    """Lets particles decay in the fiducial region; returns the probabilities that free decays lie there."""
    numbers, eta = parameters("signal_event")["fiducial"], particles["eta"]
    barrel = np.abs(eta) < numbers["eta_border"]
    low, high = (np.where(barrel, numbers["barrel"][i], numbers["endcap"][i]) for i in (0, 1))
    per_length = np.where(barrel, 1 / np.cosh(eta), np.abs(np.tanh(eta)))
    mean = particles["p"] / point.mS * point.ctau * 1000
    survive = np.exp(-low / per_length / mean)
    probability = survive - np.exp(-high / per_length / mean)
    drawn = survive - draws.uniform(random, len(eta)) * probability
    _decay_after(particles, -mean * np.log(np.maximum(drawn, 1e-300)), point)
    return np.asarray(probability, np.float32)


def decay_freely(random: Generator, particles: Particles, point: MassPoint) -> None:
    """Lets particles decay after lengths that are distributed exponentially."""
    length = particles["p"] / point.mS * point.ctau * 1000 * draws.exponential(random, len(particles))
    _decay_after(particles, length, point)


def _decay_after(particles: Particles, length: NDArray[np.floating], point: MassPoint) -> None:
    boost = particles["p"] / point.mS
    particles["beta"] = boost / np.sqrt(1 + boost**2)
    particles["Lxy"] = length / np.cosh(particles["eta"])
    particles["Lz"] = length * np.tanh(particles["eta"])


def _jet(random: Generator, particles: Particles, point: MassPoint) -> tuple[JetArray, NDArray[np.bool_]]:
    """The jet that the calorimeter sees: of a decay inside it, of one before it (an ordinary jet), or none."""
    numbers, size = parameters("signal_event"), len(particles)
    response, wide, smear, end = (
        numbers[name] for name in ("response", "opening", "direction_smear", "calorimeter_end")
    )
    fiducial = is_fiducial(particles)
    along = np.abs(particles["Lz"])
    barrel = in_barrel(np.abs(particles["eta"]))
    place = np.where(barrel, particles["Lxy"], along)
    border = np.where(barrel, end["barrel"], end["endcap"])
    lever = np.clip((border - place) / border, 0, 1)
    opening = np.minimum(wide["factor"] * point.mS / np.maximum(particles["pT"], 1), wide["maximum"])
    opening = (opening * lever).astype(np.float32)
    scale = np.where(
        fiducial, draws.uniform(random, size, response["low"], response["high"]), numbers["inner_response"]
    )
    scale = scale * np.exp(np.float32(response["sigma"]) * draws.normal(random, size))
    lost = draws.uniform(random, size, *wide["wide_share"])
    scale = scale * np.where(opening > wide["wide"], lost, np.float32(1))
    width = smear["constant"] + smear["slope"] * np.minimum(opening, smear["opening_maximum"])
    eta = particles["eta"] + width * draws.normal(random, size)
    phi = draws.wrap((particles["phi"] + width * draws.normal(random, size)).astype(np.float32))
    jets = jet_array(
        particles["pT"] * scale,
        eta,
        phi,
        np.where(fiducial, DECAY, MULTIJET),
        transverse=particles["Lxy"],
        longitudinal=along,
        opening=opening,
        delay=np.hypot(particles["Lxy"], particles["Lz"]) * (1 / particles["beta"] - 1) / SPEED_OF_LIGHT,
    )
    return jets, (place < border) & (jets["pt"] > 8) & (np.abs(jets["eta"]) < 4.7)


def signal_jets(random: Generator, jets: JetArray) -> Constituents:
    """Draws the constituents of jets, one per decay.

    A share of them overlaps with activity from the collision: then part of the energy and the tracks are a multijet's.
    """
    numbers, size, overlap = parameters("clusters")["signal"], len(jets), parameters("overlap")
    overlapping = draws.uniform(random, size) < overlap["signal_with_prompt_activity"]
    prompt_share = draws.uniform(random, size, *overlap["prompt_energy_share"]) * overlapping
    opening = np.minimum(jets["opening"], parameters("signal_event")["direction_smear"]["opening_maximum"])
    displaced_count = 1 + random.poisson(numbers["hard"]["constant"] + numbers["hard"]["slope"] * opening)
    prompt = np.where(overlapping, multijet_hard_counts(random, jets, 0.6), 0)
    clusters = clusters_of_jets(
        random,
        jets,
        hard=displaced_count + prompt,
        soft=draws.negative_binomial(random, numbers["soft"]["mean"], numbers["soft"]["k"], size),
        soft_pt=(numbers["soft"]["pt"], numbers["soft"]["sigma"]),
        spread=numbers["spread"],
        lead_boost=numbers["lead_boost"],
        sum_share=sum_share(random, jets, numbers["sum_share"]),
        angle=(numbers["angle"]["constant"] + numbers["angle"]["opening"] * opening, numbers["angle"]["slope"]),
    )
    displaced = clusters.hard & (clusters.slot < displaced_count[clusters.owners])
    # Clusters of the decay that are hard enough follow the shower, the others the pattern of all classes of jets.
    of_shower = displaced & (clusters.lead | (clusters.pt > parameters("signal_shower")["above"]))
    owners, abs_eta = clusters.owners[of_shower], np.abs(jets["eta"])
    depth = depth_at(jets["transverse"], jets["longitudinal"], abs_eta)
    showers = shower_shares(random, depth[owners], abs_eta[owners])
    kind = types(random, clusters, "signal")
    in_em = showers[:, :4].sum(axis=1)
    kind[of_shower] = np.where(in_em > 0.9, EM, np.where(in_em < 0.1, HAD, MIXED))
    shares = ordinary_shares(random, clusters, kind)
    shares[of_shower] = showers
    energies, pt = noisy_energies(random, clusters, kind, shares, displaced=displaced)
    delay = np.where(displaced, jets["delay"][clusters.owners], np.float32(0))
    soft_tail = np.float32(parameters("time")["tail_scale"]["signal_not_leading"])
    time = times(random, pt, delay, np.where(clusters.lead, np.float32(1), soft_tail))
    of_prompt = jets.copy()
    of_prompt["pt"] = np.maximum(jets["pt"] * prompt_share, 1)
    primary, charged = multijet_primaries(random, of_prompt, draws.normal(random, size))
    charged = (charged * np.maximum(prompt_share, 0.02)).astype(np.float32)
    return {
        "clusters": cluster_columns(clusters, energies, time),
        "tracks": tracks(random, jets, np.where(overlapping, primary, 0), charged, "signal", mismodelling=0.0),
        "muon_segments": muon_segments(
            random,
            jets,
            background=background_counts(random, size, 0.0, signal=True),
            punch=_punch_through(random, jets),
            mismodelling=0.0,
        ),
    }


def _punch_through(random: Generator, jets: JetArray) -> IntArray:
    """Number of muon segments behind a decay, [jets]: it grows with the depth of the decay in the calorimeter."""
    fiducial, numbers = parameters("signal_event")["fiducial"], parameters("muon_segments")["punch"]["signal"]
    barrel = in_barrel(np.abs(jets["eta"]))
    low, high = (np.where(barrel, fiducial["barrel"][i], fiducial["endcap"][i]) for i in (0, 1))
    place = np.where(barrel, jets["transverse"], jets["longitudinal"])
    depth_share = np.clip((place - low) / (high - low), 0, 1).astype(np.float32)
    reach = depth_share ** numbers["power"] * np.sqrt(jets["pt"] / numbers["pt"])
    return draws.negative_binomial(random, numbers["constant"] + numbers["slope"] * reach, numbers["k"], len(jets))
