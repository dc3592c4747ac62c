"""What jets of decays inside the calorimeter consist of."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cal_ratio_trainer.simulation import draws, muon_segments, timing
from cal_ratio_trainer.simulation.clusters import EM, HAD, MIXED, ClusterRecipe, Draft, draft, types
from cal_ratio_trainer.simulation.draws import FloatArray, Generator
from cal_ratio_trainer.simulation.layers import Energies, ordinary_shares
from cal_ratio_trainer.simulation.lists import Axes, Constituents
from cal_ratio_trainer.simulation.multijet import cluster_lists, finished, multijet_hard_counts, sum_share
from cal_ratio_trainer.simulation.muon_segments import SegmentRecipe
from cal_ratio_trainer.simulation.parameters import parameters
from cal_ratio_trainer.simulation.showers import depth_at, in_barrel, shower_shares
from cal_ratio_trainer.simulation.timing import TimeRecipe
from cal_ratio_trainer.simulation.tracks import TrackRecipe, multijet_primaries, tracks


@dataclass(frozen=True)
class Decays:
    """Decays of long-lived particles, each [decays].

    Attributes:
        transverse: distance from the beam line [mm].
        longitudinal: along the beam [mm], absolute.
        opening: angle between the two decay products as the calorimeter sees it.
        delay: how much later than light they arrive [ns].
    """

    transverse: FloatArray
    longitudinal: FloatArray
    opening: FloatArray
    delay: FloatArray


def signal_jets(random: Generator, jets: Axes, decays: Decays) -> Constituents:
    """Draw the constituents of jets, one a decay.

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
    time = timing.times(random, pt, TimeRecipe(delay, tail))
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
        False,
    )


def _segment_recipe(random: Generator, jets: Axes, decays: Decays) -> SegmentRecipe:
    fiducial = parameters("signal_event")["fiducial"]
    barrel = in_barrel(np.abs(jets.eta))
    low, high = (np.where(barrel, fiducial["barrel"][i], fiducial["endcap"][i]) for i in (0, 1))
    place = np.where(barrel, decays.transverse, decays.longitudinal)
    depth_share = np.clip((place - low) / (high - low), 0, 1).astype(np.float32)
    return SegmentRecipe(
        background=muon_segments.background_counts(random, len(jets), False, signal=True),
        punch=muon_segments.signal_punch(random, jets.pt, depth_share),
        halo=np.zeros(len(jets), np.int64),
        is_data=False,
    )
