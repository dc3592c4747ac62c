"""What is asked of one file: where it is, what it holds, which jets to keep, where the result goes."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cal_ratio_trainer.jets.labels import DataType


@dataclass(frozen=True)
class Selection:
    """Which jets are kept and what is known of them beforehand.

    Attributes:
        data_type: what the file holds.
        min_jet_pt, max_jet_pt: GeV.
        llp_mH, llp_mS: masses of a signal sample in GeV.
        max_hlt_delta_r: of BIB, the largest distance from trigger jet to jet; None takes any.
        keep_branches: further branches to carry through.
    """

    data_type: DataType
    min_jet_pt: float = 40.0
    max_jet_pt: float = 500.0
    llp_mH: float | None = None
    llp_mS: float | None = None
    max_hlt_delta_r: float | None = None
    keep_branches: tuple[str, ...] = ()


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
    """

    file: str
    output: Path
    selection: Selection
    layout: str = "ragged"
    max_events: int | None = None
    chunk_events: int = 4000
    overwrite: bool = False
    cache_path: Path | None = None

    def options(self) -> dict[str, Any]:
        """What the content of the result depends on, apart from the file; stored with it as JSON."""
        selection = self.selection
        return {
            "data_type": selection.data_type.value,
            "llp_mH": selection.llp_mH if selection.data_type is DataType.SIGNAL else None,
            "llp_mS": selection.llp_mS if selection.data_type is DataType.SIGNAL else None,
            "min_jet_pt": selection.min_jet_pt,
            "max_jet_pt": selection.max_jet_pt,
            "max_hlt_delta_r": selection.max_hlt_delta_r if selection.data_type is DataType.BIB else None,
            "keep_branches": list(selection.keep_branches),
            "max_events": self.max_events,
            "layout": self.layout,
        }
