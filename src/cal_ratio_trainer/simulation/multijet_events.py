"""Multijet events in a slice of the leading jet's true pt."""

import numpy as np
from numpy.typing import NDArray

from cal_ratio_trainer.simulation import draws
from cal_ratio_trainer.simulation.draws import FloatArray, Generator, IntArray
from cal_ratio_trainer.simulation.event_draft import (
    MULTIJET,
    EventDraft,
    JetColumn,
    from_columns,
    is_selected,
    no_decays,
)
from cal_ratio_trainer.simulation.lists import Axes
from cal_ratio_trainer.simulation.parameters import parameters


def multijet_events(random: Generator, size: int, pt_range: tuple[float, float]) -> EventDraft:
    """Two jets back to back and perhaps a third; the true pt of the leading one falls by a power law in the slice."""
    numbers = parameters("multijet_event")
    truth = draws.power_law(random, *pt_range, parameters("slices")["power"], size)
    eta, phi = _eta(random, size), draws.angle(random, size)
    balance = 1 - np.minimum(np.abs(numbers["second_imbalance"] * draws.normal(random, size)), 0.7)
    second_eta = eta + numbers["second_delta_eta"] * draws.normal(random, size)
    second_phi = draws.wrap(phi + np.float32(np.pi) + numbers["second_delta_phi"] * draws.normal(random, size))
    limit = numbers["eta_maximum"]
    third = draws.uniform(random, size, *numbers["third_fraction"]) * truth
    there = np.ones(size, bool)
    has_third = draws.uniform(random, size) < numbers["third_probability"]
    jets = [
        (truth, eta, phi, there),
        (truth * balance, np.clip(second_eta, -limit, limit), second_phi, there),
        (third, _eta(random, size), draws.angle(random, size), has_third),
    ]
    return from_columns([_measured(random, *jet) for jet in jets], {}, float(size))


def kept_in_multijets(draft: EventDraft) -> IntArray:
    """How many jets of each event convert keeps as QCD or data, [events]."""
    return np.bincount(draft.event[is_selected(draft.axes)], minlength=len(draft))


def extra_jet(random: Generator, size: int) -> JetColumn:
    """A further multijet beside what an event is about; some events have it."""
    numbers = parameters("extra_jet")
    pt = numbers["pt_minimum"] + numbers["pt_scale"] * draws.exponential(random, size)
    axes = Axes(pt.astype(np.float32), _eta(random, size), draws.angle(random, size))
    there = draws.uniform(random, size) < numbers["probability"]
    return axes, np.full(size, MULTIJET, np.int8), no_decays(size), there


def _measured(
    random: Generator, truth: FloatArray, eta: FloatArray, phi: FloatArray, there: NDArray[np.bool_]
) -> JetColumn:
    smear = 1 + np.float32(parameters("multijet_event")["smear"]) * draws.normal(random, len(truth))
    pt = np.maximum(truth * smear, np.float32(5)).astype(np.float32)
    maker = np.full(len(pt), MULTIJET, np.int8)
    return Axes(pt, eta.astype(np.float32), phi.astype(np.float32)), maker, no_decays(len(pt)), there


def _eta(random: Generator, size: int) -> FloatArray:
    numbers = parameters("multijet_event")
    eta = numbers["eta_sigma"] * draws.normal(random, size)
    limit = numbers["eta_maximum"]
    return np.where(np.abs(eta) > limit, draws.uniform(random, size, -limit, limit), eta).astype(np.float32)
