"""The one table of what a jet consists of: features, their order, units, limits, names in ROOT and on disk.

ROOT branches, Parquet columns, flat columns and network inputs are all derived from here.
"""

from dataclasses import dataclass

import pyarrow as pa


@dataclass(frozen=True)
class Feature:
    """One number of a constituent."""

    name: str
    unit: str
    network_input: bool = True
    branch: str | None = None  # the name in ROOT after the prefix, where it differs


@dataclass(frozen=True)
class Constituent:
    """One kind of constituent: how it is called, how many a jet may have, and its features in order."""

    name: str
    prefix: str
    limit: int
    features: tuple[Feature, ...]
    index_branch: str

    @property
    def columns(self) -> tuple[str, ...]:
        """Parquet column names, in feature order, e.g. 'clus_pt'."""
        return tuple(f"{self.prefix}_{feature.name}" for feature in self.features)

    @property
    def branches(self) -> tuple[str, ...]:
        """ROOT branch names, in feature order, e.g. 'track_pT'."""
        return tuple(f"{self.prefix}_{feature.branch or feature.name}" for feature in self.features)

    @property
    def inputs(self) -> tuple[int, ...]:
        """Positions of the features that the network reads, in order."""
        return tuple(i for i, feature in enumerate(self.features) if feature.network_input)

    def position(self, feature_name: str) -> int:
        """Where a feature stands among the features of this kind."""
        return [feature.name for feature in self.features].index(feature_name)

    def flat_columns(self, slot: int) -> tuple[str, ...]:
        """Column names of one slot in the earlier program's flat layout, e.g. 'clus_pt_0'."""
        return tuple(f"{column}_{slot}" for column in self.columns)


CLUSTER_LAYERS = ("l1hcal", "l1ecal", "l2hcal", "l2ecal", "l3hcal", "l3ecal", "l4ecal", "l4hcal")

CLUSTERS = Constituent(
    name="clusters",
    prefix="clus",
    limit=30,
    index_branch="cluster_jetIndex",
    features=(
        Feature("pt", "MeV"),
        Feature("eta", "from the leading cluster"),
        Feature("phi", "rad from the leading cluster"),
        *(Feature(layer, "MeV") for layer in CLUSTER_LAYERS),
        Feature("time", "ns"),
    ),
)

TRACKS = Constituent(
    name="tracks",
    prefix="track",
    limit=20,
    index_branch="track_jetIndex",
    features=(
        Feature("pt", "GeV", branch="pT"),
        Feature("eta", "from the jet"),
        Feature("phi", "rad from the jet"),
        Feature("vertex_nParticles", "tracks"),
        Feature("d0", "mm"),
        Feature("z0", "mm"),
        Feature("chiSquared", "1"),
        Feature("PixelShared", "hits", network_input=False),
        Feature("SCTShared", "hits"),
        Feature("PixelHoles", "hits", network_input=False),
        Feature("SCTHoles", "hits"),
        Feature("PixelHits", "hits", network_input=False),
        Feature("SCTHits", "hits"),
    ),
)

MUON_SEGMENTS = Constituent(
    name="muon_segments",
    prefix="MSeg",
    limit=30,
    index_branch="MSeg_jetIndex",
    features=(
        Feature("etaPos", "from the jet"),
        Feature("phiPos", "rad from the jet"),
        Feature("etaDir", "1"),
        Feature("phiDir", "rad from the jet"),
        Feature("chiSquared", "1"),
        Feature("t0", "ns"),
    ),
)

CONSTITUENTS = (CLUSTERS, TRACKS, MUON_SEGMENTS)

MISSING_T0 = 99999.0
"""What MSeg_t0 holds where the time was not measured."""

JET_INPUTS = ("jet_pt", "jet_eta", "jet_phi")
"""The three numbers of the jet itself that the network reads, in order."""

MASS_INPUTS = ("llp_mH", "llp_mS")
"""The masses that a parametrised network reads after them, one or both, in order."""

MEV_A_GEV = 1000.0
GEV_A_TEV = 1000.0
TRACK_Z0_UNIT_MM = 250.0
"""What a built track's z0 counts in."""

REQUIRED_SCALARS: dict[str, pa.DataType] = {
    "label": pa.int8(),
    "jet_pt": pa.float32(),
    "jet_eta": pa.float32(),
    "jet_phi": pa.float32(),
}
"""Scalar columns without which a table is no table of jets. jet_pt in GeV until built, then scaled to 0-1."""

EVENT_SCALARS: dict[str, pa.DataType] = {
    "eventNumber": pa.uint64(),
    "runNumber": pa.uint32(),
    "mcEventWeight": pa.float64(),
    "llp_mH": pa.float32(),
    "llp_mS": pa.float32(),
    "llp_pt": pa.float32(),
    "llp_eta": pa.float32(),
    "llp_phi": pa.float32(),
    "llp_Lxy": pa.float32(),
    "llp_Lz": pa.float32(),
}
"""Event and truth columns of every file; masses and llp_pt in GeV, llp_Lxy and llp_Lz in mm; null where not known."""

CONVERTED_SCALARS: dict[str, pa.DataType] = {"jet_isClean_LooseBadLLP": pa.int8()}
"""Kept by convert, dropped by build."""

ORIGIN_SCALARS: dict[str, pa.DataType] = {
    "source_file": pa.dictionary(pa.int32(), pa.string()),
    "source_entry": pa.int64(),
    "jet_index": pa.int16(),
    "mcChannelNumber": pa.uint32(),
}
"""Where a jet comes from: file, entry of the tree, position in the event's jet list, simulation sample."""

SCALAR_TYPES: dict[str, pa.DataType] = REQUIRED_SCALARS | EVENT_SCALARS | CONVERTED_SCALARS | ORIGIN_SCALARS
"""Types on disk of all scalar columns we know; others travel with the type they have."""
