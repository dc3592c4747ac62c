"""Jets of the beam-induced background: their directions, their constituents, and events with them.

A BIB sample is a mixture: halo muons that shower in the hadronic calorimeter, hadronic jets that are in time, and
ordinary jets that set off the trigger. All carry the label BIB, as in data.
"""

import numpy as np
from numpy.typing import NDArray

from cal_ratio_trainer.simulation import draws
from cal_ratio_trainer.simulation.clusters import (
    MIXED,
    Clusters,
    cluster_columns,
    clusters_of_jets,
    sum_share,
    times,
    types,
)
from cal_ratio_trainer.simulation.draws import FloatArray, Generator, IntArray, parameters
from cal_ratio_trainer.simulation.events import EventDraft, from_columns, nearest_selected
from cal_ratio_trainer.simulation.grouped import (
    HALO,
    IN_TIME,
    MULTIJET,
    Constituents,
    JetArray,
    chosen_constituents,
    jet_array,
)
from cal_ratio_trainer.simulation.layers import halo_delay, halo_shares, noisy_energies, ordinary_shares, shower_shares
from cal_ratio_trainer.simulation.multijet import extra_jet, multijets
from cal_ratio_trainer.simulation.muon_segments import background_counts, muon_segments
from cal_ratio_trainer.simulation.tracks import tracks


def bib_mixture(random: Generator, size: int) -> JetArray:
    """Directions and momenta of jets of a BIB sample, of maker HALO, IN_TIME or MULTIJET, [size]."""
    numbers = parameters("bib")
    mixture = numbers["mixture"]
    drawn = draws.choose(random, [mixture["halo"], mixture["in_time"], mixture["ordinary"]], size)
    maker = np.asarray([HALO, IN_TIME, MULTIJET], np.int8)[drawn]
    spectrum = numbers["pt"]
    pt = spectrum["minimum"] + spectrum["scale"] * np.exp(np.float32(spectrum["sigma"]) * draws.normal(random, size))
    narrow = np.abs(numbers["eta"]["sigma"] * draws.normal(random, size))
    # Showers of collisions are in time at any place; the halo lights up the centre.
    is_narrow = (maker != IN_TIME) & (draws.uniform(random, size) < numbers["eta"]["narrow_share"])
    abs_eta = np.where(is_narrow, narrow, draws.uniform(random, size, 0.0, 2.45))
    eta = np.minimum(abs_eta, 2.45) * draws.sign(random, size)
    phi = np.where(maker == HALO, _phi(random, abs_eta), draws.angle(random, size))
    return jet_array(pt, eta, phi, maker)


def _phi(random: Generator, abs_eta: FloatArray) -> FloatArray:
    # Halo muons are bent in the horizontal plane, and a barrel jet of one cell takes its module's azimuth.
    numbers, size = parameters("bib")["phi"], len(abs_eta)
    peak = numbers["sigma"] * draws.normal(random, size)
    peak += np.where(draws.uniform(random, size) < 0.5, np.float32(np.pi), np.float32(0))
    in_peak = draws.uniform(random, size) < numbers["peak_share"]
    phi = np.where(in_peak, peak, draws.angle(random, size))
    module = 2 * np.pi / numbers["modules"]
    snapped = (np.floor(phi / module) + 0.5) * module + numbers["module_sigma"] * draws.normal(random, size)
    return draws.wrap(np.where(abs_eta < numbers["snap_below"], snapped, phi).astype(np.float32))


def bib_jets(random: Generator, jets: JetArray) -> Constituents:
    """Draws the constituents of jets of a BIB sample."""
    ordinary = jets["maker"] == MULTIJET
    parts = [_halo_jets(random, jets[~ordinary]), multijets(random, jets[ordinary], mismodelling=1.0)]
    return chosen_constituents(parts, np.argsort(np.argsort(ordinary, kind="stable")))


def _halo_jets(random: Generator, jets: JetArray) -> Constituents:
    numbers, size = parameters("clusters")["bib"], len(jets)
    in_time = jets["maker"] == IN_TIME
    clusters = clusters_of_jets(
        random,
        jets,
        hard=1 + random.poisson(numbers["hard"], size),
        soft=draws.negative_binomial(random, numbers["soft"]["mean"], numbers["soft"]["k"], size),
        soft_pt=(numbers["soft"]["pt"], numbers["soft"]["sigma"]),
        spread=numbers["spread"],
        lead_boost=numbers["lead_boost"],
        sum_share=sum_share(random, jets, numbers["sum_share"]),
        angle=(0, numbers["angle"]),
    )
    kind = types(random, clusters, "bib")
    of_halo = clusters.hard & (clusters.pt > parameters("cluster_type")["bib_hard"]["above"]) & (kind != MIXED)
    shares = ordinary_shares(random, clusters, kind)
    rows = np.flatnonzero(of_halo)
    shares[rows], layer = halo_shares(random, clusters.abs_eta[rows])
    late = rows[in_time[clusters.owners[rows]]]
    depth = draws.uniform(random, size, *parameters("bib")["in_time"]["depth"])
    shares[late] = shower_shares(random, depth[clusters.owners[late]], clusters.abs_eta[late])
    energies, pt = noisy_energies(random, clusters, kind, shares, displaced=of_halo, halo=of_halo)
    delay = np.zeros(len(pt), np.float32)
    delay[rows] = _delays(random, jets, clusters, rows, layer)
    delay[in_time[clusters.owners]] = 0
    tail = np.full(len(pt), parameters("time")["tail_scale"]["bib"], np.float32)
    time = times(random, pt, delay, tail, mismodelling=1.0)
    no_tracks, charged_share = np.zeros(size, np.int64), np.full(size, 0.1, np.float32)
    of_tracks = tracks(random, jets, no_tracks, charged_share, "bib", mismodelling=1.0)
    segments = parameters("muon_segments")["halo"]
    halo = draws.negative_binomial(random, segments["mean"], segments["k"], size)
    no_halo = in_time & (draws.uniform(random, size) < parameters("bib")["in_time"]["without_halo"])
    halo = np.where(no_halo, 0, halo)
    # Whether the endcap chambers that a muon crosses see it, or only its shower, depends on its distance from the beam.
    alpha, beta = segments["parallel"]
    parallel = random.binomial(halo, random.beta(alpha, beta, size))
    background = background_counts(random, size, mismodelling=1.0)
    return {
        "clusters": cluster_columns(clusters, energies, time),
        "tracks": of_tracks,
        "muon_segments": muon_segments(
            random, jets, background=background, halo=parallel, halo_shower=halo - parallel, mismodelling=1.0
        ),
    }


def _delays(
    random: Generator, jets: JetArray, clusters: Clusters, rows: NDArray[np.intp], layer: NDArray[np.intp]
) -> FloatArray:
    """Delays [rows]; whether a muon comes in or goes out is a property of the jet, and so is an odd time."""
    numbers, size = parameters("bib")["time"], len(jets)
    probability = np.zeros(size, np.float32)
    for border, value in reversed(numbers["incoming"]):
        probability[np.abs(jets["eta"]) < border] = value
    incoming = draws.uniform(random, size) < probability
    owners = clusters.owners[rows]
    delay = halo_delay(random, clusters.eta[rows], layer, incoming[owners])
    delay += (numbers["offset"] + numbers["sigma"] * draws.normal(random, size))[owners].astype(np.float32)
    odd = draws.uniform(random, size) < numbers["flat_share"]
    flat = draws.uniform(random, size, *numbers["flat"])
    return np.where(odd[owners], flat[owners], delay)


def bib_events(random: Generator, size: int) -> EventDraft:
    """One jet of the BIB mixture in each event and perhaps an ordinary one; the trigger jet lies on the first.

    In some events the trigger jet is not flagged as BIB, and in some it lies far from every jet that convert keeps: the
    nearest one is then an ordinary jet, which a match without limit would label BIB.
    """
    numbers = parameters("events")
    jets = bib_mixture(random, size)
    extra, has_extra = extra_jet(random, size)
    far = draws.uniform(random, size) < numbers["bib_far_trigger_share"]
    smear = np.float32(numbers["hlt_smear"])
    eta = np.where(far, draws.uniform(random, size, -2.5, 2.5), jets["eta"] + smear * draws.normal(random, size))
    phi = np.where(far, jets["phi"] + np.float32(2.0), jets["phi"] + smear * draws.normal(random, size))
    flagged = draws.uniform(random, size) >= numbers["unselected_share"]
    trigger = {
        "HLT_jet_pT": (jets["pt"] * (1 + 0.1 * draws.normal(random, size))).astype(np.float32),
        "HLT_jet_eta": eta.astype(np.float32),
        "HLT_jet_phi": draws.wrap(phi.astype(np.float32)),
        "HLT_jet_isBIB": flagged.astype(np.int32),
    }
    return from_columns([(jets, np.ones(size, bool)), (extra, has_extra & ~far)], trigger, float(size))


def kept_in_bib(draft: EventDraft) -> IntArray:
    """Number of jets of each event that convert keeps as BIB with a trigger jet within 0.4, [events]."""
    flagged = draft.per_event["HLT_jet_isBIB"] == 1
    targets = {name: draft.per_event[f"HLT_jet_{name}"][flagged] for name in ("eta", "phi")}
    jet = nearest_selected(draft, targets, flagged.astype(np.int64))
    return np.bincount(draft.event[jet[jet >= 0]], minlength=len(draft))
