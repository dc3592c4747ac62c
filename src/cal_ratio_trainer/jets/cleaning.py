"""Cleaning of loaded jets before a training, with a report."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from cal_ratio_trainer.errors import InputFileError
from cal_ratio_trainer.jets.metadata import JetMetadata
from cal_ratio_trainer.jets.ragged import Ragged
from cal_ratio_trainer.jets.schema import (
    CALRATIO_2019,
    CLUSTER_LAYERS,
    CLUSTERS,
    MISSING_T0,
    MUON_SEGMENTS,
    Constituent,
    Schema,
)
from cal_ratio_trainer.jets.table import Jets, JetScalars

BEYOND_PI = float(np.float32(np.pi)) * (1 + 1e-6)
"""An angle with a larger absolute value is beyond pi, and not only rounded. [rad]"""

JETS_TO_JUDGE_BY = 10_000
"""Largest number of jets that `is_built` looks at."""
_SMALLEST_JET_PT_GEV = 2.0
_LARGEST_JET_PT_GEV = 14_000.0
_CONSTITUENTS_AT_A_TIME = 1 << 14

JetsType = TypeVar("JetsType", bound=JetScalars)


@dataclass(frozen=True)
class CleaningReport:
    """Unusual values in the jets of one file.

    Attributes:
        non_finite: network input column -> how many NaN or infinite values became 0.
        beyond_pi: angle column -> how many values lie beyond pi; they were left as they are.
        non_finite_weights: number of known but non-finite values of mcEventWeight, which were not changed.
    """

    non_finite: dict[str, int] = field(default_factory=dict)
    beyond_pi: dict[str, int] = field(default_factory=dict)
    non_finite_weights: int = 0

    def sentences(self) -> list[str]:
        """Notes for the user, one sentence each; empty without unusual values."""
        said = [f"{count} NaN or infinite values of {name} became 0" for name, count in self.non_finite.items()]
        said += [
            f"{count} values of {name} are beyond ±pi and were left unchanged" for name, count in self.beyond_pi.items()
        ]
        if self.non_finite_weights:
            said.append(f"{self.non_finite_weights} values of mcEventWeight are not finite")
        return said


class Cleaning:
    """Makes network inputs finite and counts unusual values, batch by batch.

    Args:
        schema: features of the jets.
    """

    def __init__(self, schema: Schema = CALRATIO_2019) -> None:
        self._schema = schema
        self._non_finite: Counter[str] = Counter()
        self._beyond_pi: Counter[str] = Counter()
        self._non_finite_weights = 0

    def scalars(self, jets: JetsType) -> JetsType:
        """The same jets with finite inputs of their own; weights are counted only."""
        columns = {}
        for name in self._schema.jet_inputs:
            bad = ~np.isfinite(jets[name])
            if bad.any():
                self._non_finite[name] += int(bad.sum())
                columns[name] = np.where(bad, np.float32(0), jets[name]).astype(np.float32)
        self._beyond_pi["jet_phi"] += int(np.count_nonzero(np.abs(jets["jet_phi"]) > BEYOND_PI))
        if "mcEventWeight" in jets:
            known = jets.scalars.column("mcEventWeight").drop_null().cast(pa.float64()).to_numpy()
            self._non_finite_weights += int(np.count_nonzero(~np.isfinite(known)))
        return jets.with_columns(columns)

    def constituents(self, kind: Constituent, ragged: Ragged) -> Ragged:
        """The same constituents with finite inputs; the same object if all are finite."""
        by_feature, bad = ragged.values.T, set()
        for start in range(0, len(ragged.values), _CONSTITUENTS_AT_A_TIME):
            # The values of a feature are brought together, unless they lie together: that is a copy, so in pieces.
            piece = by_feature[:, start : start + _CONSTITUENTS_AT_A_TIME]
            piece = piece if piece.strides[1] == piece.itemsize else piece.copy()
            for position in kind.inputs:
                column, name = piece[position], kind.columns[position]
                finite = np.isfinite(column)
                if count := len(column) - int(np.count_nonzero(finite)):
                    bad.add(position)
                    self._non_finite[name] += count
                if kind.features[position].angle == "phi":
                    self._beyond_pi[name] += int(np.count_nonzero((np.abs(column) > BEYOND_PI) & finite))
        if not bad:
            return ragged
        values = ragged.values.copy("K")
        for position in bad:
            column = values[:, position]
            column[~np.isfinite(column)] = 0
        return ragged.with_values(values)

    def report(self) -> CleaningReport:
        """Report so far, in the order of the schema."""
        non_finite, beyond_pi = (
            {name: found[name] for name in self._schema.columns if found[name]}
            for found in (self._non_finite, self._beyond_pi)
        )
        return CleaningReport(non_finite, beyond_pi, self._non_finite_weights)


def clean_for_training(jets: Jets) -> tuple[Jets, CleaningReport]:
    """The same jets with finite network inputs: infinite and NaN become 0, counted by column.

    Weights are only counted, since a setting of the training decides about bad ones.
    """
    cleaning = Cleaning(jets.schema)
    lists = {kind.name: cleaning.constituents(kind, jets.constituents[kind.name]) for kind in jets.schema.constituents}
    return replace(cleaning.scalars(jets), constituents=lists), cleaning.report()


def is_built(metadata: JetMetadata, jets: Jets) -> bool:
    """True for jets that `build` has scaled already.

    Args:
        metadata: metadata of the file; its stage decides unless it is unknown.
        jets: all jets of the file, or the first ones. Jets of a frame without metadata count as built if the padding
            is not zero, if their median pt cannot be in GeV, or if the layer energies of clusters sum to 1.
    """
    if metadata.stage != "unknown":
        return metadata.stage == "built"
    if any(np.any(ragged.padding != 0) for ragged in jets.constituents.values()):
        return True
    some = jets.slice(0, JETS_TO_JUDGE_BY)
    if len(some) and np.nanmedian(some["jet_pt"]) < _SMALLEST_JET_PT_GEV:
        return True
    layers = some.constituents[CLUSTERS.name].values[:, [CLUSTERS.position(layer) for layer in CLUSTER_LAYERS]]
    sums = layers.sum(axis=1, dtype=np.float64)
    sums = sums[np.isfinite(sums)]
    return len(sums) > 0 and bool(np.median(np.abs(sums - 1)) < 1e-4)


def refuse_impossible_pt(file: Path, pt_gev: NDArray[np.floating[Any]]) -> None:
    """Refuses jets with more pt than the beams' energy.

    Args:
        file: path of the file with the jets.
        pt_gev: transverse momenta [GeV], [jets]; values that are not finite are ignored.

    Raises:
        InputFileError: says how many there are, and the largest.
    """
    size = np.where(np.isfinite(pt_gev), np.abs(pt_gev), 0)
    beyond = int(np.count_nonzero(size > _LARGEST_JET_PT_GEV))
    if beyond:
        raise InputFileError(
            file,
            f"column jet_pt has {beyond} value{'s' if beyond > 1 else ''} up to {size.max():.3g} GeV, where at most "
            f"{_LARGEST_JET_PT_GEV:g} GeV can be",
        )


def with_missing_t0(constituents: Mapping[str, Ragged], value: float) -> tuple[dict[str, Ragged], int]:
    """Constituents with `value` [ns] for the times of muon segments that were not measured, and their number."""
    segments, position = constituents[MUON_SEGMENTS.name], MUON_SEGMENTS.position("t0")
    missing = segments.values[:, position] == np.float32(MISSING_T0)
    values = segments.values.copy("K")
    values[missing, position] = value
    return {**constituents, MUON_SEGMENTS.name: segments.with_values(values)}, int(missing.sum())
