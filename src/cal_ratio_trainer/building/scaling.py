"""Scales jets to what the network reads: pt to 0-1, layer energies to fractions, eta to its side."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cal_ratio_trainer.jets.features import CLUSTER_LAYERS, CLUSTERS, MEV_A_GEV, TRACK_Z0_UNIT_MM, TRACKS, Constituent
from cal_ratio_trainer.jets.metadata import Scaling
from cal_ratio_trainer.jets.ragged import Ragged
from cal_ratio_trainer.jets.table import Jets

_LAYERS = [CLUSTERS.position(layer) for layer in CLUSTER_LAYERS]

DoubleArray = NDArray[np.float64]


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
    values = clusters.values.copy()
    energies = values[:, _LAYERS].astype(np.float64)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        fractions = energies / energies.sum(axis=1, keepdims=True)
    useless = ~np.isfinite(fractions).all(axis=1)
    fractions[~np.isfinite(fractions)] = 0
    values[:, _LAYERS] = fractions
    _turn_eta(values, clusters, CLUSTERS)
    _scale_pt(values, CLUSTERS, smallest, MEV_A_GEV * width)
    return clusters.with_values(values), int(useless.sum())


def _scaled_tracks(tracks: Ragged, smallest: float, width: float) -> Ragged:
    values = tracks.values.copy()
    _turn_eta(values, tracks, TRACKS)
    _scale_pt(values, TRACKS, smallest, width)
    z0 = TRACKS.position("z0")
    values[:, z0] = values[:, z0].astype(np.float64) / TRACK_Z0_UNIT_MM
    return tracks.with_values(values)


def _scale_pt(values: NDArray[np.float32], kind: Constituent, smallest: float, width: float) -> None:
    pt = kind.position("pt")
    values[:, pt] = (values[:, pt].astype(np.float64) - smallest) / width


def _turn_eta(values: NDArray[np.float32], ragged: Ragged, kind: Constituent) -> None:
    """Give all jets the same side: eta times the sign of the pt-weighted sum. `values` still holds the unscaled pt."""
    pt, eta = kind.position("pt"), kind.position("eta")
    owners = ragged.owners()
    sums = np.bincount(owners, values[:, eta].astype(np.float64) * values[:, pt], minlength=len(ragged))
    sign = np.where(sums < 0, np.float32(-1), np.float32(1))
    values[:, eta] *= sign[owners]
