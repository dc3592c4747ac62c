"""Scales jets to what the network reads: pt to 0-1, layer energies to fractions, eta to its side, by the schema."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from cal_ratio_trainer.jets.metadata import Scaling
from cal_ratio_trainer.jets.ragged import FloatArray, Ragged
from cal_ratio_trainer.jets.schema import Affine, Constituent, Feature
from cal_ratio_trainer.jets.table import Jets


@dataclass(frozen=True)
class ScaledJets:
    """Scaled jets, and how many of their clusters had layer energies whose sum gives no finite fractions."""

    jets: Jets
    clusters_without_fractions: int


def scale(jets: Jets, scaling: Scaling) -> ScaledJets:
    """Scales jets as the earlier program's `build` did, real constituents only; padding rows are not changed.

    Computed in double from the stored float32, then stored as float32 again. By the scaling of a feature:
        pt_range: (pt - min) / (max - min);  from MeV (pt - min) / (1000 (max - min)), as the earlier program has it.
        fraction: divided by the sum of all such features of the constituent; not finite becomes 0.
        side: times the sign of sum(eta * pt) over the constituents of the kind, of the unscaled pt; a sum of 0 counts
            as positive.
        subtract, divide_by: (value - subtract) / divide_by.

    Args:
        jets: as converted; their schema says how each feature is scaled.
        scaling: the range [GeV] that becomes 0-1.
    """
    own = {f.name: _moved(f, jets[f.name], scaling).astype(np.float32) for f in jets.schema.jet if f.scaling}
    lists, without = dict(jets.constituents), 0
    for kind in jets.schema.constituents:
        if any(feature.scaling for feature in kind.features):
            lists[kind.name], useless = _scaled(lists[kind.name], kind, scaling)
            without += useless
    return ScaledJets(replace(jets, constituents=lists).with_columns(own), without)


def sides(ragged: Ragged, eta: FloatArray, pt: FloatArray) -> FloatArray:
    """Sign of sum(eta * pt) over the constituents of each jet, [jets]; a sum of 0 counts as positive.

    Args:
        ragged: constituents, with the jet of each.
        eta, pt: [constituents], not scaled; any unit of pt.
    """
    sums = np.bincount(ragged.owners(), eta.astype(np.float64) * pt, minlength=len(ragged))
    return np.where(sums < 0, np.float32(-1), np.float32(1))


def _scaled(ragged: Ragged, kind: Constituent, scaling: Scaling) -> tuple[Ragged, int]:
    """The constituents of one kind, scaled, and how many have no finite fractions."""
    # [features, constituents]: operations on single features run over neighbouring numbers.
    columns = ragged.values.T.copy()
    useless = _make_fractions(columns, [i for i, f in enumerate(kind.features) if f.scaling == "fraction"])
    turned = [i for i, feature in enumerate(kind.features) if feature.scaling == "side"]
    if turned:
        pt, eta = kind.position("pt"), kind.position("eta")
        sign = sides(ragged, columns[eta], columns[pt])
        for position in turned:
            columns[position] *= np.repeat(sign, ragged.lengths)
    for position, feature in enumerate(kind.features):
        if feature.scaling == "pt_range" or isinstance(feature.scaling, Affine):
            columns[position] = _moved(feature, columns[position], scaling)
    return ragged.with_values(columns.T), useless


def _make_fractions(columns: FloatArray, layers: list[int]) -> int:
    """Divides features by their sum; returns the number of constituents for which the result is not finite."""
    if not layers:
        return 0
    total = columns[layers].sum(axis=0, dtype=np.float64)
    finite = np.ones(len(total), dtype=bool)
    for layer in layers:
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            fractions = columns[layer] / total
        own_finite = np.isfinite(fractions)
        finite &= own_finite
        fractions[~own_finite] = 0
        columns[layer] = fractions
    return len(finite) - int(np.count_nonzero(finite))


def _moved(feature: Feature, values: FloatArray, scaling: Scaling) -> NDArray[np.float64]:
    """A feature with one shift and one unit, scaled in double precision."""
    shift, unit = scaling.shift_and_unit(feature)
    return (values.astype(np.float64) - shift) / unit
