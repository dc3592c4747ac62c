"""DiVertAnalysis ntuples, converted and scaled in memory."""

import math
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from cal_ratio_trainer.files.cache import is_remote
from cal_ratio_trainer.jets import DataType, Jets
from cal_ratio_trainer.ntuple.branches import WEIGHT, check_branches
from cal_ratio_trainer.ntuple.chunk import convert_chunk
from cal_ratio_trainer.ntuple.pieces import cut
from cal_ratio_trainer.ntuple.reading import opened
from cal_ratio_trainer.ntuple.request import Selection
from cal_ratio_trainer.ntuple.source import readable_name
from cal_ratio_trainer.ntuple.tally import Tally, sentences
from cal_ratio_trainer.scoring.blinding import Origin
from cal_ratio_trainer.scoring.streams import JetBatch, JetStream, Region, StreamOptions, converted_batch

_OFFICIAL_SCORE = re.compile(r"^jet_nn_(?!.*_index$)")
_ONE_A_JET = re.compile(r"vector<(double|float)>")
_TRUTH = ("llp_mH", "llp_mS", "llp_pt", "llp_eta", "llp_phi", "llp_Lxy", "llp_Lz")


def official_score_branches(typenames: dict[str, str]) -> list[str]:
    """The branches that hold scores which the C++ computed, one a jet by position; rankings (`_index`) are none."""
    return [name for name, kind in typenames.items() if _OFFICIAL_SCORE.match(name) and _ONE_A_JET.search(kind)]


@dataclass
class NtupleStream(JetStream):
    """One ntuple; what convert's selection keeps of it, with the C++ scores."""

    name: str
    options: StreamOptions
    path: Path | None = None
    size: int = 0
    unit: str = "events"
    region: Region = "main"
    labelled: bool = False
    simulation: str | None = None
    notes: list[str] = field(default_factory=list)
    oddities: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.path = None if is_remote(self.name) else Path(self.name)
        with opened(self.name, self._location) as ntuple:
            self.size, self.simulation = ntuple.entries, ntuple.simulation()
            official = official_score_branches(ntuple.typenames)
            asked = self.options.data_type
            # Without a type every jet is kept, and nobody knows what it is.
            data_type = asked or (DataType.QCD if WEIGHT in ntuple.branches else DataType.DATA)
            self.labelled = asked is not None
            self.region = "control" if asked is DataType.DATA else self.options.kind or "main"
            self.origin = Origin(asked, self.labelled, is_control=self.options.kind == "control")
            self._selection = self._make_selection(data_type, tuple(dict.fromkeys([*official, *self._further])))
            if ntuple.entries:
                check_branches(self.name, self._selection, ntuple.branches)
        if not self.labelled:
            self.notes.append("no data_type was given: every jet in range is kept, without a label")

    @property
    def _further(self) -> tuple[str, ...]:
        return self.options.keep_columns

    @property
    def _location(self) -> str:
        return readable_name(self.name, self.options.cache_path)

    def _make_selection(self, data_type: DataType, keep_branches: tuple[str, ...]) -> Selection:
        options = self.options
        return Selection(
            data_type=data_type,
            min_jet_pt=options.min_jet_pt,
            max_jet_pt=options.max_jet_pt,
            llp_mH=math.nan if options.llp_mH is None else options.llp_mH,
            llp_mS=math.nan if options.llp_mS is None else options.llp_mS,
            max_hlt_delta_r=options.max_hlt_delta_r,
            keep_branches=keep_branches,
        )

    def batches(self) -> Iterator[tuple[JetBatch, int]]:
        """See `JetStream.batches`."""
        with opened(self.name, self._location) as ntuple:
            chunks = tuple(ntuple.chunks(self.options.chunk_events, ntuple.entries))
        yield from self.batches_of(chunks)
        self.note_oddities(self.oddities)

    def pieces(self, units: int) -> tuple[tuple[range, ...], ...]:
        """See `JetStream.pieces`."""
        if self.size <= units:
            return ()
        with opened(self.name, self._location) as ntuple:
            pieces = cut(ntuple.chunks(self.options.chunk_events, ntuple.entries), units)
        return pieces if len(pieces) > 1 else ()

    def batches_of(self, piece: tuple[range, ...]) -> Iterator[tuple[JetBatch, int]]:
        """See `JetStream.batches_of`; what was odd is counted in `oddities`."""
        tally = Tally(weighted=self._selection.data_type.is_simulation)
        with opened(self.name, self._location) as ntuple:
            for entries in piece:
                jets = self._with_known_truth(convert_chunk(ntuple, entries, self._selection, tally))
                ntuple.forget_older_pages()
                yield converted_batch(jets, self.options.scaling), len(entries)
        self.oddities = tally.counts

    def note_oddities(self, counts: Counter[str]) -> None:
        """See `JetStream.note_oddities`."""
        self.notes += sentences(counts)

    def _with_known_truth(self, jets: Jets) -> Jets:
        """Null where the type that was given for the selection says nothing of the truth."""
        if not self.labelled:
            unknown: dict[str, Any] = {
                name: pa.nulls(len(jets), jets.scalars.column(name).type) for name in _TRUTH if name in jets
            }
            return jets.with_columns(unknown)
        return jets
