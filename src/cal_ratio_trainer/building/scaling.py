"""Scales jets to what the network reads: pt to 0-1, layer energies to fractions, eta to its side."""

from dataclasses import dataclass

import numpy as np

from cal_ratio_trainer.jets.metadata import Scaling
from cal_ratio_trainer.jets.ragged import FloatArray, Ragged
from cal_ratio_trainer.jets.schema import CLUSTER_LAYERS, CLUSTERS, MEV_A_GEV, TRACK_Z0_UNIT_MM, TRACKS, Constituent
from cal_ratio_trainer.jets.table import Jets

_LAYERS = [CLUSTERS.position(layer) for layer in CLUSTER_LAYERS]


@dataclass(frozen=True)
class ScaledJets:
    """Scaled jets, and how many of their clusters had layer energies whose sum gives no finite fractions."""

    jets: Jets
    clusters_without_fractions: int


def scale(jets: Jets, scaling: Scaling) -> ScaledJets:
    """Scale jets as the earlier program's `build` did, real constituents only; padding rows stay as they are.

    Computed in double from the stored float32, then stored as float32 again:
        jet pt, track pt: (pt - min) / (max - min);  cluster pt: (pt - min) / (1000 (max - min)), from MeV.
        layer energies: each divided by the sum of the eight; not finite becomes 0.
        track z0: divided by 250 mm.
        cluster and track eta: times the sign of sum(eta * pt) over the jet's clusters or tracks, of the unscaled pt;
            a sum of 0 counts as positive.

    Args:
        jets: as converted: GeV, clusters MeV, mm.
        scaling: the range [GeV] that becomes 0-1.
    """
    width = scaling.max_jet_pt - scaling.min_jet_pt
    jet_pt = (jets["jet_pt"].astype(np.float64) - scaling.min_jet_pt) / width
    clusters, without = _scaled_clusters(jets.constituents[CLUSTERS.name], scaling.min_jet_pt, width)
    tracks = _scaled_tracks(jets.constituents[TRACKS.name], scaling.min_jet_pt, width)
    lists = {**jets.constituents, CLUSTERS.name: clusters, TRACKS.name: tracks}
    return ScaledJets(Jets(jets.scalars, lists).with_columns({"jet_pt": jet_pt.astype(np.float32)}), without)


def _scaled_clusters(clusters: Ragged, smallest: float, width: float) -> tuple[Ragged, int]:
    columns = _columns(clusters)
    useless = _make_fractions(columns)
    _turn_eta(columns, clusters, CLUSTERS)
    _scale_pt(columns, CLUSTERS, smallest, MEV_A_GEV * width)
    return clusters.with_values(columns.T), useless


def _make_fractions(columns: FloatArray) -> int:
    """Divide layer energies by their sum; the number of clusters with a layer for which that gives nothing finite."""
    total = columns[_LAYERS].sum(axis=0, dtype=np.float64)
    finite = np.ones(len(total), dtype=bool)
    for layer in _LAYERS:
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            fractions = columns[layer] / total
        own_finite = np.isfinite(fractions)
        finite &= own_finite
        fractions[~own_finite] = 0
        columns[layer] = fractions
    return len(finite) - int(np.count_nonzero(finite))


def _scaled_tracks(tracks: Ragged, smallest: float, width: float) -> Ragged:
    columns = _columns(tracks)
    _turn_eta(columns, tracks, TRACKS)
    _scale_pt(columns, TRACKS, smallest, width)
    z0 = TRACKS.position("z0")
    columns[z0] = columns[z0].astype(np.float64) / TRACK_Z0_UNIT_MM
    return tracks.with_values(columns.T)


def _columns(ragged: Ragged) -> FloatArray:
    """The values, copied, [features, constituents]: what is done to single features is done to neighbouring numbers."""
    return ragged.values.T.copy()


def _scale_pt(columns: FloatArray, kind: Constituent, smallest: float, width: float) -> None:
    pt = kind.position("pt")
    columns[pt] = (columns[pt].astype(np.float64) - smallest) / width


def _turn_eta(columns: FloatArray, ragged: Ragged, kind: Constituent) -> None:
    """Give all jets the same side: eta times the sign of the pt-weighted sum. The columns hold the unscaled pt yet."""
    pt, eta = kind.position("pt"), kind.position("eta")
    sums = np.bincount(ragged.owners(), columns[eta].astype(np.float64) * columns[pt], minlength=len(ragged))
    sign = np.where(sums < 0, np.float32(-1), np.float32(1))
    columns[eta] *= np.repeat(sign, ragged.lengths)
