"""Request to convert one file: path, data type, selection, and output."""

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cal_ratio_trainer.jets.expressions import parse_condition
from cal_ratio_trainer.jets.labels import DataType
from cal_ratio_trainer.jets.metadata import Cuts
from cal_ratio_trainer.jets.schema import CALRATIO_2019, Schema

MAX_JET_ETA = 2.5


@dataclass(frozen=True)
class Cut:
    """A condition that a user wrote, and its name in the cutflow."""

    name: str
    condition: str


def branch_of(column: str) -> str:
    """The branch that a column of a condition is taken from.

    >>> branch_of("jet_pT[0]")
    'jet_pT'
    """
    return re.sub(r"\[\d+\]$", "", column)


@dataclass(frozen=True)
class Selection:
    """Selection of jets, and their properties given by the user.

    Attributes:
        data_type: what the file holds.
        min_jet_pt, max_jet_pt: GeV.
        llp_mH, llp_mS: masses of a signal sample in GeV.
        max_hlt_delta_r: of BIB, the largest distance from trigger jet to jet; None takes any.
        keep_branches: further branches to carry through.
        event_cuts, jet_cuts: conditions on events and on jets.
        require_clean_jets: keep only jets that are flagged as clean.
        max_jets_per_event: keep at most so many, the hardest; None keeps all.
        schema: the features of the jets.
    """

    data_type: DataType
    min_jet_pt: float = 40.0
    max_jet_pt: float = 500.0
    llp_mH: float | None = None
    llp_mS: float | None = None
    max_hlt_delta_r: float | None = None
    keep_branches: tuple[str, ...] = ()
    event_cuts: tuple[Cut, ...] = ()
    jet_cuts: tuple[Cut, ...] = ()
    require_clean_jets: bool = False
    max_jets_per_event: int | None = None
    schema: Schema = CALRATIO_2019

    def further_branches(self) -> list[str]:
        """The branches that the user asks for, to carry through or for a condition."""
        columns = (parse_condition(cut.condition, positions=True).columns for cut in (*self.event_cuts, *self.jet_cuts))
        used = sorted({branch_of(column) for of_cut in columns for column in of_cut})
        return list(dict.fromkeys([*self.keep_branches, *used]))

    def cuts(self) -> Cuts:
        """Cuts for the metadata of a file."""
        return Cuts(
            data_types=[self.data_type],
            min_jet_pt=self.min_jet_pt,
            max_jet_pt=self.max_jet_pt,
            max_abs_jet_eta=MAX_JET_ETA,
            event_selection={cut.name: cut.condition for cut in self.event_cuts},
            jet_selection={cut.name: cut.condition for cut in self.jet_cuts},
            require_clean_jets=self.require_clean_jets,
            max_jets_per_event=self.max_jets_per_event,
            max_hlt_delta_r=self.max_hlt_delta_r if self.data_type is DataType.BIB else None,
        )


@dataclass(frozen=True)
class Request:
    """One file to convert.

    Attributes:
        file: its absolute path or URL.
        output: where the result goes.
        selection: which jets are kept.
        layout: 'ragged' or 'flat'.
        max_events: how many events to read; None reads all.
        chunk_events: how many events to hold at a time.
        overwrite: convert again what is already done.
        cache_path: where remote files are copied to; None streams them.
        piece_events: a file of more events may be cut into pieces of about so many.
    """

    file: str
    output: Path
    selection: Selection
    layout: str = "ragged"
    max_events: int | None = None
    chunk_events: int = 4000
    overwrite: bool = False
    cache_path: Path | None = None
    piece_events: int = 100_000

    def with_absolute_paths(self) -> "Request":
        """The same for a process with another current folder."""
        cache_path = self.cache_path.absolute() if self.cache_path is not None else None
        return replace(self, output=self.output.absolute(), cache_path=cache_path)

    def options(self) -> dict[str, Any]:
        """Options on which the content of the result depends, apart from the file; stored with it as JSON."""
        selection = self.selection
        return {
            "data_type": selection.data_type.value,
            "llp_mH": selection.llp_mH if selection.data_type is DataType.SIGNAL else None,
            "llp_mS": selection.llp_mS if selection.data_type is DataType.SIGNAL else None,
            "min_jet_pt": selection.min_jet_pt,
            "max_jet_pt": selection.max_jet_pt,
            "max_hlt_delta_r": selection.max_hlt_delta_r if selection.data_type is DataType.BIB else None,
            "keep_branches": list(selection.keep_branches),
            # Not in files of before, which were made without: then they are null, as what is missing is.
            "event_selection": {cut.name: cut.condition for cut in selection.event_cuts} or None,
            "jet_selection": {cut.name: cut.condition for cut in selection.jet_cuts} or None,
            "require_clean_jets": selection.require_clean_jets or None,
            "max_jets_per_event": selection.max_jets_per_event,
            "max_events": self.max_events,
            "layout": self.layout,
        }
