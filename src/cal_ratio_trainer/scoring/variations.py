"""Single changes of a network's inputs, as two programs that should read the same jets could differ."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from cal_ratio_trainer.building.scaling import scale, sides
from cal_ratio_trainer.jets import Constituent, Jets, Ragged
from cal_ratio_trainer.jets.labels import Label
from cal_ratio_trainer.jets.metadata import Scaling
from cal_ratio_trainer.jets.schema import (
    CLUSTER_LAYERS,
    CLUSTERS,
    MEV_A_GEV,
    MISSING_T0,
    MUON_SEGMENTS,
    TRACK_Z0_UNIT_MM,
    TRACKS,
    Schema,
)

_TITLES = {CLUSTERS.name: "cluster", TRACKS.name: "track", MUON_SEGMENTS.name: "muon segment"}
_LAYERS = [CLUSTERS.position(layer) for layer in CLUSTER_LAYERS]

Values = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class ExplainedJets:
    """Jets as the network reads them, and before they were scaled where that is known.

    Attributes:
        built: scaled.
        converted: in GeV and MeV; None where the file holds scaled jets.
        scaling: what lies between the two.
    """

    built: Jets
    converted: Jets | None
    scaling: Scaling


@dataclass(frozen=True)
class Variation:
    """One change.

    Attributes:
        name: the change as a clause: 'cluster eta is not turned to one side'.
        apply: gives the changed jets; None where it cannot be tried on these jets.
        outputs: for a change of the outputs' order instead: where each output is found.
    """

    name: str
    apply: Callable[[ExplainedJets], Jets | None]
    outputs: tuple[int, int, int] | None = None


def variations(schema: Schema) -> Iterator[Variation]:
    """All changes that are tried, steps of the preparation first, then features one by one, then pairs of them."""
    yield from _preparation()
    for kind in schema.constituents:
        yield from _of_lists(kind)
    for kind in schema.constituents:
        yield from _of_features(kind)
    yield from _of_jets(schema.jet_inputs)
    for order in ((1, 0, 2), (2, 1, 0), (0, 2, 1), (1, 2, 0), (2, 0, 1)):
        name = f"the outputs are in the order {', '.join(Label(i).title for i in order)}"
        yield Variation(name, lambda jets: jets.built, outputs=order)


def _preparation() -> Iterator[Variation]:
    for kind in (CLUSTERS, TRACKS):
        title = _TITLES[kind.name]
        yield Variation(f"{title} eta is not turned to one side", partial(_eta_not_turned, kind=kind))
        yield Variation(
            f"{title} eta is turned to the other side", partial(_scaled_feature, kind=kind, name="eta", by=-1.0)
        )
    yield Variation("segment etaPos is turned with the tracks", partial(_segments_turned, by=TRACKS))
    yield Variation("segment etaPos is turned with the clusters", partial(_segments_turned, by=CLUSTERS))
    yield Variation("jet eta is turned with the clusters", _jet_turned)
    yield Variation("layer energies are in MeV, not fractions of their sum", _energies_not_divided)
    yield Variation(
        "layer energies are in GeV, not fractions of their sum", partial(_energies_not_divided, unit=MEV_A_GEV)
    )
    yield Variation("layer energies are divided by the cluster's pt", _energies_by_pt)
    yield Variation(
        f"track z0 is not divided by {TRACK_Z0_UNIT_MM:g} mm",
        partial(_scaled_feature, kind=TRACKS, name="z0", by=TRACK_Z0_UNIT_MM),
    )
    for low, high in ((0.0, 400.0), (40.0, 500.0), (0.0, 550.0), (0.0, 1000.0)):
        name = f"pt is scaled with {low:g} to {high:g} GeV"
        yield Variation(name, partial(_scaled_otherwise, scaling=Scaling(min_jet_pt=low, max_jet_pt=high)))
    yield Variation("no pt is scaled", _no_pt_scaled)
    yield Variation("cluster pt is taken for GeV", partial(_scaled_feature, kind=CLUSTERS, name="pt", by=MEV_A_GEV))
    yield Variation("track pt is taken for MeV", partial(_scaled_feature, kind=TRACKS, name="pt", by=1 / MEV_A_GEV))
    for title, kind, eta, phi in (
        ("track", TRACKS, "eta", "phi"),
        ("muon segment", MUON_SEGMENTS, "etaPos", "phiPos"),
    ):
        yield Variation(f"{title} angles are not relative to the jet", partial(_absolute, kind=kind, eta=eta, phi=phi))
    yield Variation(
        "segment phiDir is not relative to the jet", partial(_absolute, kind=MUON_SEGMENTS, eta="", phi="phiDir")
    )
    for value in (0.0, -1.0, 999.0):
        yield Variation(
            f"segment times that were not measured are read as {value:g}", partial(_missing_t0, value=value)
        )


def _of_lists(kind: Constituent) -> Iterator[Variation]:
    title = _TITLES[kind.name]
    yield Variation(f"there are no {title}s", partial(_no_constituents, kind=kind))
    yield Variation(f"{title}s come in the opposite order", partial(_reversed, kind=kind))
    yield Variation(f"empty {title} slots stand before the filled ones", partial(_padded_in_front, kind=kind))
    for count in (1, 5, 10, 15, 20, 25, kind.limit - 1):
        if count < kind.limit:
            yield Variation(f"only the first {count} {title}s are read", partial(_cut, kind=kind, count=count))
    for name in [feature.name for feature in kind.features if feature.network_input]:
        yield Variation(f"{title}s are ordered by falling {name}", partial(_ordered, kind=kind, name=name))


def _of_features(kind: Constituent) -> Iterator[Variation]:
    title = _TITLES[kind.name]
    names = [kind.features[position].name for position in kind.inputs]
    for name in names:
        feature = f"{title} {name}"
        yield Variation(f"{feature} is missing (0)", partial(_scaled_feature, kind=kind, name=name, by=0.0))
        yield Variation(f"{feature} has the opposite sign", partial(_scaled_feature, kind=kind, name=name, by=-1.0))
        yield Variation(f"{feature} is 1000 times as large", partial(_scaled_feature, kind=kind, name=name, by=1e3))
        yield Variation(f"{feature} is 1000 times smaller", partial(_scaled_feature, kind=kind, name=name, by=1e-3))
        yield Variation(f"{feature} is an absolute value", partial(_absolute_value, kind=kind, name=name))
    for one, other in combinations(names, 2):
        yield Variation(f"{title} {one} and {other} are swapped", partial(_swapped, kind=kind, one=one, other=other))


def _of_jets(names: Sequence[str]) -> Iterator[Variation]:
    for name in names:
        for factor, said in (
            (0.0, "is missing (0)"),
            (-1.0, "has the opposite sign"),
            (1000.0, "is 1000 times as large"),
        ):
            yield Variation(f"{name} {said}", partial(_scaled_column, name=name, by=factor))
    for one, other in combinations(names, 2):
        yield Variation(f"{one} and {other} are swapped", partial(_swapped_columns, one=one, other=other))


def _with(jets: Jets, kind: Constituent, ragged: Ragged) -> Jets:
    return replace(jets, constituents={**jets.constituents, kind.name: ragged})


def _changed(jets: Jets, kind: Constituent, change: Callable[[Values, Ragged], None]) -> Jets:
    ragged = jets.constituents[kind.name]
    values = ragged.values.copy()
    change(values, ragged)
    return _with(jets, kind, ragged.with_values(values))


def _scaled_feature(jets: ExplainedJets, kind: Constituent, name: str, by: float) -> Jets:
    def change(values: Values, ragged: Ragged) -> None:
        values[:, kind.position(name)] *= np.float32(by)

    return _changed(jets.built, kind, change)


def _absolute_value(jets: ExplainedJets, kind: Constituent, name: str) -> Jets:
    def change(values: Values, ragged: Ragged) -> None:
        np.abs(values[:, kind.position(name)], out=values[:, kind.position(name)])

    return _changed(jets.built, kind, change)


def _swapped(jets: ExplainedJets, kind: Constituent, one: str, other: str) -> Jets:
    def change(values: Values, ragged: Ragged) -> None:
        pair = [kind.position(one), kind.position(other)]
        values[:, pair] = values[:, pair[::-1]]

    return _changed(jets.built, kind, change)


def _scaled_column(jets: ExplainedJets, name: str, by: float) -> Jets:
    return jets.built.with_columns({name: jets.built[name] * np.float32(by)})


def _swapped_columns(jets: ExplainedJets, one: str, other: str) -> Jets:
    return jets.built.with_columns({one: jets.built[other], other: jets.built[one]})


def _signs(jets: Jets, kind: Constituent) -> Values:
    """[jets] the sign by which `scale` multiplies the eta of this kind, of unscaled jets."""
    ragged = jets.constituents[kind.name]
    return sides(ragged, *(ragged.values[:, kind.position(name)] for name in ("eta", "pt")))


def _eta_not_turned(jets: ExplainedJets, kind: Constituent) -> Jets | None:
    if jets.converted is None:
        return None
    original = jets.converted.constituents[kind.name].values[:, kind.position("eta")]

    def change(values: Values, ragged: Ragged) -> None:
        values[:, kind.position("eta")] = np.nan_to_num(original)

    return _changed(jets.built, kind, change)


def _segments_turned(jets: ExplainedJets, by: Constituent) -> Jets | None:
    if jets.converted is None:
        return None
    sign = _signs(jets.converted, by)

    def change(values: Values, ragged: Ragged) -> None:
        values[:, MUON_SEGMENTS.position("etaPos")] *= sign[ragged.owners()]

    return _changed(jets.built, MUON_SEGMENTS, change)


def _jet_turned(jets: ExplainedJets) -> Jets | None:
    if jets.converted is None:
        return None
    return jets.built.with_columns({"jet_eta": jets.built["jet_eta"] * _signs(jets.converted, CLUSTERS)})


def _energies_not_divided(jets: ExplainedJets, unit: float = 1.0) -> Jets | None:
    if jets.converted is None:
        return None
    energies = np.nan_to_num(jets.converted.constituents[CLUSTERS.name].values[:, _LAYERS])

    def change(values: Values, ragged: Ragged) -> None:
        values[:, _LAYERS] = energies / np.float32(unit)

    return _changed(jets.built, CLUSTERS, change)


def _energies_by_pt(jets: ExplainedJets) -> Jets | None:
    if jets.converted is None:
        return None
    converted = jets.converted.constituents[CLUSTERS.name].values
    with np.errstate(divide="ignore", invalid="ignore"):
        shares = np.nan_to_num(converted[:, _LAYERS] / converted[:, [CLUSTERS.position("pt")]], posinf=0.0, neginf=0.0)

    def change(values: Values, ragged: Ragged) -> None:
        values[:, _LAYERS] = shares

    return _changed(jets.built, CLUSTERS, change)


def _scaled_otherwise(jets: ExplainedJets, scaling: Scaling) -> Jets | None:
    if jets.converted is not None:
        return None if scaling == jets.scaling else scale(jets.converted, scaling).jets
    return None


def _no_pt_scaled(jets: ExplainedJets) -> Jets | None:
    if jets.converted is None:
        return None
    result = jets.built.with_columns({"jet_pt": jets.converted["jet_pt"]})
    for kind in (CLUSTERS, TRACKS):
        original = jets.converted.constituents[kind.name].values[:, kind.position("pt")]
        values = result.constituents[kind.name].values.copy()
        values[:, kind.position("pt")] = np.nan_to_num(original)
        result = _with(result, kind, result.constituents[kind.name].with_values(values))
    return result


def _absolute(jets: ExplainedJets, kind: Constituent, eta: str, phi: str) -> Jets:
    """Angles with the jet's added; eta of tracks was turned to one side, so that is only right for half of them."""

    def change(values: Values, ragged: Ragged) -> None:
        owners = ragged.owners()
        if eta:
            values[:, kind.position(eta)] += jets.built["jet_eta"][owners]
        turned = values[:, kind.position(phi)] + jets.built["jet_phi"][owners]
        values[:, kind.position(phi)] = (turned + np.pi) % (2 * np.pi) - np.pi

    return _changed(jets.built, kind, change)


def _missing_t0(jets: ExplainedJets, value: float) -> Jets | None:
    position = MUON_SEGMENTS.position("t0")
    missing = jets.built.constituents[MUON_SEGMENTS.name].values[:, position] == np.float32(MISSING_T0)
    if not missing.any():
        return None

    def change(values: Values, ragged: Ragged) -> None:
        values[missing, position] = value

    return _changed(jets.built, MUON_SEGMENTS, change)


def _no_constituents(jets: ExplainedJets, kind: Constituent) -> Jets:
    ragged = jets.built.constituents[kind.name]
    return _with(jets.built, kind, Ragged.from_lengths(ragged.values[:0], 0 * ragged.lengths, ragged.padding))


def _reversed(jets: ExplainedJets, kind: Constituent) -> Jets:
    ragged = jets.built.constituents[kind.name]
    return _with(jets.built, kind, ragged.with_values(ragged.values[np.lexsort((-ragged.slots(), ragged.owners()))]))


def _ordered(jets: ExplainedJets, kind: Constituent, name: str) -> Jets:
    ragged = jets.built.constituents[kind.name]
    order = np.lexsort((-ragged.values[:, kind.position(name)], ragged.owners()))
    return _with(jets.built, kind, ragged.with_values(ragged.values[order]))


def _cut(jets: ExplainedJets, kind: Constituent, count: int) -> Jets | None:
    ragged = jets.built.constituents[kind.name]
    if ragged.lengths.max(initial=0) <= count:
        return None
    kept = ragged.slots() < count
    lengths = np.minimum(ragged.lengths, count)
    return _with(jets.built, kind, Ragged.from_lengths(ragged.values[kept], lengths, ragged.padding))


def _padded_in_front(jets: ExplainedJets, kind: Constituent) -> Jets:
    ragged = jets.built.constituents[kind.name]
    padded = np.broadcast_to(ragged.padding, (len(ragged), kind.limit, len(ragged.padding))).copy()
    lengths = np.minimum(ragged.lengths, kind.limit)
    kept = ragged.slots() < kind.limit
    owners = ragged.owners()[kept]
    padded[owners, ragged.slots()[kept] + (kind.limit - lengths)[owners]] = ragged.values[kept]
    values = padded.reshape(-1, len(ragged.padding))
    return _with(jets.built, kind, Ragged.from_lengths(values, np.full(len(ragged), kind.limit), ragged.padding))
