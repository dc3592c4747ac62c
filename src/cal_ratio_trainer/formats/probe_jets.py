"""Jets to try a network file on: without constituents, with one, some, and all slots of each kind filled.

They are either made of a run's own jets or drawn at random in the shape of real ones.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from cal_ratio_trainer.jets import Jets, Ragged
from cal_ratio_trainer.jets.ragged import FloatArray
from cal_ratio_trainer.jets.schema import (
    CALRATIO_2019,
    CLUSTER_LAYERS,
    CLUSTERS,
    MISSING_T0,
    MUON_SEGMENTS,
    Constituent,
    Schema,
)
from cal_ratio_trainer.network.shape import NetworkShape

TOLERANCE = 1e-5
"""Largest difference between a score of a file and the score of the network."""

_SEED = 20190
_LABELS = 3


@dataclass(frozen=True)
class PaddedJets:
    """Jets as the inputs of a network: padded to its slots.

    Attributes:
        arrays: for each branch [jets, slots, inputs + masses], then [jets, 3 + masses]; float32.
    """

    arrays: tuple[FloatArray, ...]

    def __len__(self) -> int:
        return len(self.arrays[-1])

    def take(self, jets: NDArray[np.integer]) -> "PaddedJets":
        """The jets at the given positions, in that order."""
        return PaddedJets(tuple(array[jets] for array in self.arrays))

    def followed_by(self, others: "PaddedJets") -> "PaddedJets":
        """These jets, then others for the same network."""
        pairs = zip(self.arrays, others.arrays, strict=True)
        return PaddedJets(tuple(np.concatenate(pair) for pair in pairs))


@dataclass(frozen=True)
class KnownScores:
    """Jets with the scores of a network.

    Attributes:
        inputs: inputs of the jets, in the form that a file takes.
        scores: [jets, 3].
    """

    inputs: PaddedJets
    scores: NDArray[np.float32]

    def followed_by(self, others: "KnownScores") -> "KnownScores":
        """These jets, then others of the same network."""
        return KnownScores(self.inputs.followed_by(others.inputs), np.concatenate([self.scores, others.scores]))


def padded_inputs(jets: Jets, shape: NetworkShape, masses: NDArray[np.float32] | None = None) -> PaddedJets:
    """Jets padded to the slots of a network, what it reads of them only.

    Args:
        jets: scaled, or as converted; the result is the same.
        shape: the network's shape.
        masses: [jets, masses] for a parametrised network, appended to each constituent and to the jet's own numbers.
    """
    return PaddedJets((*constituent_inputs(jets, shape, masses), jet_inputs(jets, masses)))


def constituent_inputs(
    jets: Jets, shape: NetworkShape, masses: NDArray[np.float32] | None = None
) -> tuple[FloatArray, ...]:
    """For each branch [jets, slots, inputs + masses]; arguments as `padded_inputs`."""
    arrays = []
    for branch in shape.branches:
        ragged = jets.constituents[branch.name]
        padded = ragged.padded(branch.slots)[:, :, list(shape.schema.kind(branch.name).inputs)]
        if masses is not None:
            filled = np.arange(branch.slots) < ragged.lengths[:, None]
            padded = np.concatenate([padded, filled[:, :, None] * masses[:, None, :]], axis=2)
        arrays.append(np.ascontiguousarray(padded, dtype=np.float32))
    return tuple(arrays)


def jet_inputs(jets: Jets, masses: NDArray[np.float32] | None = None) -> FloatArray:
    """The jets' own numbers, [jets, jet inputs + masses]."""
    own = [jets[name][:, None] for name in jets.schema.jet_inputs]
    return np.concatenate([*own, *([] if masses is None else [masses])], axis=1).astype(np.float32)


class Filling(Enum):
    """Number of filled slots of each kind."""

    NONE = "none"
    ONE = "one"
    SOME = "some"
    ALL = "all"


def probes_of(jets: Jets, count: int) -> tuple[Jets, NDArray[np.intp]]:
    """Jets with every filling, made of others.

    Args:
        jets: some real or simulated jets, scaled or not; at least one.
        count: maximum number of them, spread evenly over their order.

    Returns:
        The jets, and for each the position of its filling in `Filling`. Jets with SOME are taken as they are; jets with
        ALL are filled up with the constituents of the next jets.
    """
    chosen = jets.take(np.unique(np.linspace(0, len(jets) - 1, min(count, len(jets))).astype(np.int64)))
    parts = [_filled(chosen, filling) for filling in Filling]
    return Jets.concatenate(parts), np.repeat(np.arange(len(parts)), len(chosen))


def drawn_jets(count: int, schema: Schema = CALRATIO_2019) -> Jets:
    """Jets as converted (GeV, clusters in MeV, mm, ns), with numbers of about the size that real ones have.

    Always the same ones. Some clusters have no energy in any layer, and some segments no measured time. Features that
    are not of 2019 are normally distributed with width 1.
    """
    draw, draw_further = np.random.default_rng(_SEED), np.random.default_rng([_SEED, 1])
    lists = {}
    for kind, mean in zip(schema.constituents, (12, 5, 4), strict=True):
        lengths = np.minimum(1 + draw.poisson(mean, count), kind.limit)
        features = [
            _FEATURES[column](draw, int(lengths.sum()))
            if column in _FEATURES
            else draw_further.normal(0, 1, int(lengths.sum()))
            for column in kind.columns
        ]
        values = np.stack(features, axis=1)
        lists[kind.name] = _hardest_first(Ragged.from_lengths(values.astype(np.float32), lengths), kind)
    columns = {
        "label": np.arange(count) % _LABELS,
        "jet_pt": np.minimum(40 + draw.exponential(70, count), 499),
        "jet_eta": draw.uniform(-2.5, 2.5, count),
        "jet_phi": draw.uniform(-np.pi, np.pi, count),
    }
    columns |= {name: draw_further.normal(0, 1, count) for name in schema.jet_columns if name not in columns}
    return Jets.from_columns(columns, _with_odd_ones(lists), schema)


def _filled(jets: Jets, filling: Filling) -> Jets:
    def changed(ragged: Ragged, limit: int) -> Ragged:
        if filling is Filling.SOME or not len(ragged.values):
            return ragged
        lengths = {Filling.NONE: 0 * ragged.lengths, Filling.ONE: np.minimum(ragged.lengths, 1)}.get(
            filling, np.full(len(ragged), limit)
        )
        slots = Ragged.from_lengths(np.zeros((int(lengths.sum()), 1), dtype=np.float32), lengths)
        rows = (np.repeat(ragged.offsets[:-1], lengths) + slots.slots()) % len(ragged.values)
        return Ragged.from_lengths(ragged.values[rows], lengths, ragged.padding)

    kinds = jets.schema.constituents
    return replace(jets, constituents={kind.name: changed(jets.constituents[kind.name], kind.limit) for kind in kinds})


def _hardest_first(ragged: Ragged, kind: Constituent) -> Ragged:
    if kind.sorted_by is None:
        return ragged
    return ragged.with_values(
        ragged.values[np.lexsort((-ragged.values[:, kind.position(kind.sorted_by)], ragged.owners()))]
    )


def _with_odd_ones(lists: dict[str, Ragged]) -> dict[str, Ragged]:
    clusters, segments = lists[CLUSTERS.name], lists[MUON_SEGMENTS.name]
    clusters.values[::37, [CLUSTERS.position(layer) for layer in CLUSTER_LAYERS]] = 0
    segments.values[::23, MUON_SEGMENTS.position("t0")] = MISSING_T0
    return lists


_Draw = Callable[[np.random.Generator, int], NDArray[np.float64]]


def _normal(width: float) -> _Draw:
    return lambda draw, n: draw.normal(0, width, n)


def _falling(mean: float, smallest: float = 0.0) -> _Draw:
    return lambda draw, n: smallest + draw.exponential(mean, n)


def _hits(mean: float) -> _Draw:
    return lambda draw, n: draw.poisson(mean, n).astype(np.float64)


def _layer(share: float, mean_mev: float) -> _Draw:
    """Energy in a share of the clusters, noise around zero in the others, of which some are exactly zero."""

    def energies(draw: np.random.Generator, n: int) -> NDArray[np.float64]:
        noise = draw.normal(0, 20, n) * (draw.random(n) < 0.3)
        return np.where(draw.random(n) < share, draw.exponential(mean_mev, n), noise)

    return energies


_FEATURES: dict[str, _Draw] = {
    "clus_pt": lambda draw, n: np.exp(draw.normal(7.2, 1.4, n)),
    "clus_eta": _normal(0.2),
    "clus_phi": _normal(0.2),
    **{f"clus_{layer}": _layer(0.25 if "hcal" in layer else 0.6, 3000.0) for layer in CLUSTER_LAYERS},
    "clus_time": _normal(8),
    "track_pt": _falling(6, 0.5),
    "track_eta": _normal(0.1),
    "track_phi": _normal(0.1),
    "track_vertex_nParticles": _hits(30),
    "track_d0": _normal(3),
    "track_z0": _normal(60),
    "track_chiSquared": _falling(40),
    "track_PixelShared": _hits(0.05),
    "track_SCTShared": _hits(0.2),
    "track_PixelHoles": _hits(0.1),
    "track_SCTHoles": _hits(0.2),
    "track_PixelHits": _hits(4),
    "track_SCTHits": _hits(8),
    "MSeg_etaPos": _normal(1.5),
    "MSeg_phiPos": _normal(0.1),
    "MSeg_etaDir": _normal(1.3),
    "MSeg_phiDir": _normal(0.15),
    "MSeg_chiSquared": _falling(10),
    "MSeg_t0": _normal(12),
}
