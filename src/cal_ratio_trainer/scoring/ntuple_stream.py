"""DiVertAnalysis ntuples, converted and scaled in memory."""

import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pyarrow as pa

from cal_ratio_trainer.config.scoring import ReadingSettings
from cal_ratio_trainer.files.cache import is_remote
from cal_ratio_trainer.jets import DataType, Jets
from cal_ratio_trainer.jets.metadata import Scaling
from cal_ratio_trainer.jets.schema import Schema
from cal_ratio_trainer.ntuple.chunk import convert_chunk
from cal_ratio_trainer.ntuple.events import WEIGHT, check_branches
from cal_ratio_trainer.ntuple.pieces import cut
from cal_ratio_trainer.ntuple.reading import Ntuple, opened
from cal_ratio_trainer.ntuple.request import Selection
from cal_ratio_trainer.ntuple.tally import Tally, sentences
from cal_ratio_trainer.scoring.blinding import Origin
from cal_ratio_trainer.scoring.streams import JetBatch, JetStream, converted_batch

_OFFICIAL_SCORE = re.compile(r"^jet_nn_(?!.*_index$)")
_ONE_A_JET = re.compile(r"vector<(double|float)>")
_TRUTH = ("llp_mH", "llp_mS", "llp_pt", "llp_eta", "llp_phi", "llp_Lxy", "llp_Lz")


def official_score_branches(typenames: dict[str, str]) -> list[str]:
    """The branches that hold scores which the C++ computed, one a jet by position; rankings (`_index`) are none."""
    return [name for name, kind in typenames.items() if _OFFICIAL_SCORE.match(name) and _ONE_A_JET.search(kind)]


class NtupleStream(JetStream):
    """One ntuple; what convert's selection keeps of it, with the C++ scores."""

    unit = "events"

    def __init__(
        self,
        name: str,
        reading: ReadingSettings,
        scaling: Scaling,
        schema: Schema,
        keep_columns: Sequence[str],
    ) -> None:
        """Opens an ntuple; arguments and errors as `scoring.inputs.open_stream`."""
        super().__init__(name, None if is_remote(name) else Path(name), scaling, keep_columns)
        self._reading = reading
        with self._opened() as ntuple:
            self.size, self.simulation = ntuple.entries, ntuple.simulation()
            official = official_score_branches(ntuple.typenames)
            asked = reading.data_type
            # Without a type every jet is kept, and its class is unknown.
            data_type = asked or (DataType.QCD if WEIGHT in ntuple.branches else DataType.DATA)
            self.labelled = asked is not None
            self.region = "control" if asked is DataType.DATA else reading.kind or "main"
            self.origin = Origin(asked, self.labelled, is_control=reading.kind == "control")
            self._selection = Selection(
                data_type=data_type,
                min_jet_pt=reading.min_jet_pt,
                max_jet_pt=reading.max_jet_pt,
                llp_mH=math.nan if reading.llp_mH is None else reading.llp_mH,
                llp_mS=math.nan if reading.llp_mS is None else reading.llp_mS,
                max_hlt_delta_r=reading.max_hlt_delta_r,
                keep_branches=tuple(dict.fromkeys([*official, *self.keep_columns])),
                schema=schema,
            )
            if ntuple.entries:
                check_branches(name, self._selection, ntuple.branches)
        if not self.labelled:
            self.notes.append("no data_type was given: every jet in range is kept, without a label")

    def _opened(self) -> AbstractContextManager[Ntuple]:
        return opened(self.name, self._reading.cache_path)

    def batches(self) -> Iterator[tuple[JetBatch, int]]:
        """See `JetStream.batches`."""
        with self._opened() as ntuple:
            chunks = tuple(ntuple.chunks(self._reading.chunk_events, ntuple.entries))
        yield from self.batches_of(chunks)
        self.note_oddities(self.oddities)

    def pieces(self, units: int) -> tuple[tuple[range, ...], ...]:
        """See `JetStream.pieces`."""
        if self.size <= units:
            return ()
        with self._opened() as ntuple:
            pieces = cut(ntuple.chunks(self._reading.chunk_events, ntuple.entries), units)
        return pieces if len(pieces) > 1 else ()

    def batches_of(self, piece: tuple[range, ...]) -> Iterator[tuple[JetBatch, int]]:
        """See `JetStream.batches_of`; what was odd is counted in `oddities`."""
        tally = Tally(weighted=self._selection.data_type.is_simulation)
        with self._opened() as ntuple:
            for entries in piece:
                jets = self._with_known_truth(convert_chunk(ntuple, entries, self._selection, tally))
                ntuple.forget_older_pages()
                yield converted_batch(jets, self.scaling), len(entries)
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
