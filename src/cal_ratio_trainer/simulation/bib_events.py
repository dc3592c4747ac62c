"""Events of a BIB sample: data taken because a trigger jet looked like beam-induced background."""

import numpy as np

from cal_ratio_trainer.simulation import draws
from cal_ratio_trainer.simulation.bib import HALO as HALO_KIND
from cal_ratio_trainer.simulation.bib import ORDINARY, bib_axes
from cal_ratio_trainer.simulation.draws import Generator, IntArray
from cal_ratio_trainer.simulation.event_draft import (
    HALO,
    IN_TIME,
    MULTIJET,
    EventDraft,
    from_columns,
    nearest_selected,
    no_decays,
)
from cal_ratio_trainer.simulation.lists import Axes
from cal_ratio_trainer.simulation.multijet_events import extra_jet
from cal_ratio_trainer.simulation.parameters import parameters


def bib_events(random: Generator, size: int) -> EventDraft:
    """One jet of the BIB mixture in each event and perhaps an ordinary one; the trigger jet lies on the first.

    In some events the trigger jet is not flagged as BIB, and in some it lies far from every jet that convert keeps: the
    nearest one is then an ordinary jet, which a match without limit would label BIB.
    """
    numbers = parameters("events")
    axes, kind = bib_axes(random, size)
    maker = np.where(kind == ORDINARY, MULTIJET, np.where(kind == HALO_KIND, HALO, IN_TIME)).astype(np.int8)
    extra, extra_maker, extra_decays, has_extra = extra_jet(random, size)
    far = draws.uniform(random, size) < numbers["bib_far_trigger_share"]
    smear = np.float32(numbers["hlt_smear"])
    eta = np.where(far, draws.uniform(random, size, -2.5, 2.5), axes.eta + smear * draws.normal(random, size))
    phi = np.where(far, axes.phi + np.float32(2.0), axes.phi + smear * draws.normal(random, size))
    flagged = draws.uniform(random, size) >= numbers["unselected_share"]
    trigger = {
        "HLT_jet_pT": (axes.pt * (1 + 0.1 * draws.normal(random, size))).astype(np.float32),
        "HLT_jet_eta": eta.astype(np.float32),
        "HLT_jet_phi": draws.wrap(phi.astype(np.float32)),
        "HLT_jet_isBIB": flagged.astype(np.int32),
        "HLT_jet_there": np.ones(size, bool),
    }
    there = np.ones(size, bool)
    jets = [
        (axes, maker, no_decays(size), there),
        (extra, extra_maker, extra_decays, has_extra & ~far),
    ]
    return from_columns(jets, trigger, float(size))


def kept_in_bib(draft: EventDraft) -> IntArray:
    """How many jets of each event convert keeps as BIB when it asks for a trigger jet within 0.4, [events]."""
    flagged = draft.per_event["HLT_jet_isBIB"] == 1
    eta, phi = (draft.per_event[name][flagged] for name in ("HLT_jet_eta", "HLT_jet_phi"))
    jet = nearest_selected(draft, Axes(np.ones(len(eta), np.float32), eta, phi), flagged.astype(np.int64))
    return np.bincount(draft.event[jet[jet >= 0]], minlength=len(draft))
