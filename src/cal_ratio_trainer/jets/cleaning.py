"""What a training does to loaded jets before it uses them, and what it has to know about them."""

from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from cal_ratio_trainer.jets.features import CLUSTER_LAYERS, CLUSTERS, CONSTITUENTS, JET_INPUTS
from cal_ratio_trainer.jets.metadata import JetMetadata
from cal_ratio_trainer.jets.ragged import Ragged
from cal_ratio_trainer.jets.table import Jets

_ANGLES = {"phi", "phiPos", "phiDir"}
_BEYOND_PI = float(np.float32(np.pi)) * (1 + 1e-6)
_JETS_TO_JUDGE_BY = 10_000
_SMALLEST_JET_PT_GEV = 2.0
_VALUES_AT_A_TIME = 1 << 18


@dataclass(frozen=True)
class CleaningReport:
    """What was odd in the jets of one file.

    Attributes:
        non_finite: network input column -> how many NaN or infinite values became 0.
        beyond_pi: angle column -> how many values lie beyond pi; they were left as they are.
        non_finite_weights: how many values of mcEventWeight are known but not finite; they were left as they are.
    """

    non_finite: dict[str, int] = field(default_factory=dict)
    beyond_pi: dict[str, int] = field(default_factory=dict)
    non_finite_weights: int = 0

    def sentences(self) -> list[str]:
        """What a user should read, a sentence each; nothing where nothing was odd."""
        said = [f"{count} NaN or infinite values of {name} became 0" for name, count in self.non_finite.items()]
        said += [
            f"{count} values of {name} lie beyond pi and stay as they are" for name, count in self.beyond_pi.items()
        ]
        if self.non_finite_weights:
            said.append(f"{self.non_finite_weights} values of mcEventWeight are not finite")
        return said


def clean_for_training(jets: Jets) -> tuple[Jets, CleaningReport]:
    """The same jets with finite network inputs: infinite and NaN become 0, counted by column.

    Weights are counted only, for what to do with bad ones is a setting of the training.
    """
    counts: dict[str, int] = {}
    columns = {}
    for name in JET_INPUTS:
        bad = ~np.isfinite(jets[name])
        if bad.any():
            counts[name] = int(bad.sum())
            columns[name] = np.where(bad, np.float32(0), jets[name]).astype(np.float32)
    lists: dict[str, Ragged] = {}
    angles = {"jet_phi": int(np.count_nonzero(np.abs(jets["jet_phi"]) > _BEYOND_PI))}
    for kind in CONSTITUENTS:
        ragged = jets.constituents[kind.name]
        bad_counts, wide_counts = _oddities(ragged)
        found = {kind.columns[i]: int(bad_counts[i]) for i in kind.inputs if bad_counts[i]}
        lists[kind.name] = _finite(ragged, kind.inputs) if found else ragged
        counts |= found
        angles |= {kind.columns[i]: int(wide_counts[i]) for i in kind.inputs if kind.features[i].name in _ANGLES}
    cleaned = Jets(jets.scalars, lists).with_columns(columns)
    beyond = {name: count for name, count in angles.items() if count}
    return cleaned, CleaningReport(counts, beyond, _non_finite_weights(jets))


def is_built(metadata: JetMetadata, jets: Jets) -> bool:
    """True for jets that `build` has scaled already.

    Args:
        metadata: of their file; decides where it says a stage.
        jets: the jets, or the first ones of them. Those of a frame that says nothing count as built when their
            padding is not zero, when their median pt is none in GeV, or when the layer energies of clusters sum to 1.
    """
    if metadata.stage != "unknown":
        return metadata.stage == "built"
    if any(np.any(ragged.padding != 0) for ragged in jets.constituents.values()):
        return True
    some = jets.slice(0, _JETS_TO_JUDGE_BY)
    if len(some) and np.nanmedian(some["jet_pt"]) < _SMALLEST_JET_PT_GEV:
        return True
    layers = some.constituents[CLUSTERS.name].values[:, [CLUSTERS.position(layer) for layer in CLUSTER_LAYERS]]
    sums = layers.sum(axis=1, dtype=np.float64)
    sums = sums[np.isfinite(sums)]
    return len(sums) > 0 and bool(np.median(np.abs(sums - 1)) < 1e-4)


def _oddities(ragged: Ragged) -> tuple[np.ndarray, np.ndarray]:
    """How many values of each feature are not finite, and how many are larger than pi; in pieces, to hold little."""
    bad = np.zeros(ragged.values.shape[1], dtype=np.int64)
    wide = np.zeros_like(bad)
    for start in range(0, len(ragged.values), _VALUES_AT_A_TIME):
        piece = ragged.values[start : start + _VALUES_AT_A_TIME]
        finite = np.isfinite(piece)
        bad += np.count_nonzero(~finite, axis=0)
        wide += np.count_nonzero((np.abs(piece) > _BEYOND_PI) & finite, axis=0)
    return bad, wide


def _finite(ragged: Ragged, features: tuple[int, ...]) -> Ragged:
    values = ragged.values.copy()
    for position in features:
        column = values[:, position]
        column[~np.isfinite(column)] = 0
    return ragged.with_values(values)


def _non_finite_weights(jets: Jets) -> int:
    if "mcEventWeight" not in jets:
        return 0
    known = jets.scalars.column("mcEventWeight").drop_null()
    return int(np.count_nonzero(~np.isfinite(known.cast(pa.float64()).to_numpy())))
