"""Column names of the earlier program's flat frames and what they are called here."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from cal_ratio_trainer.jets.schema import CONSTITUENTS, EVENT_SCALARS, JET_INPUTS

_OLD_PREFIX = re.compile(r"^(nn|aux)_")
_OLD_PT = re.compile(r"_pT(?=_\d+$|$)")
_RENAMED = {"mH": "llp_mH", "mS": "llp_mS"}
_DROPPED = re.compile(r"^(clus_sign|track_sign|track_vertex_[xyz]_\d+)$")
_SLOT = re.compile(r"_\d+$")

SLOT_COLUMNS: tuple[str, ...] = tuple(
    column for kind in CONSTITUENTS for slot in range(kind.limit) for column in kind.flat_columns(slot)
)
"""The 800 slot columns in the earlier program's order: kind by kind, slot by slot, feature by feature."""

_SLOTS = frozenset(SLOT_COLUMNS)


@dataclass(frozen=True)
class FlatNames:
    """Map from the columns of a flat frame to today's.

    Attributes:
        source: today's name -> the name in the frame; slots and scalars, in the frame's order.
        dropped: columns of the frame that mean nothing any more.
        absent: event columns that the frame lacks; they become null.
    """

    source: dict[str, str]
    dropped: list[str]
    absent: list[str]

    @property
    def renamed(self) -> dict[str, str]:
        """Old scalar name -> today's, for those that differ."""
        return {old: new for new, old in self.source.items() if old != new and new not in _SLOTS}

    @property
    def scalars(self) -> list[str]:
        """Today's names of the scalar columns that are there."""
        return [name for name in self.source if name not in _SLOTS]

    @property
    def missing(self) -> list[str]:
        """Required columns that are not there, slots together: 'clus_time_0..29'."""
        required = ["label", *JET_INPUTS]
        return [name for name in required if name not in self.source] + _together(_SLOTS - self.source.keys())


def name_of_today(name: str) -> str:
    """Today's name of a column of the earlier program.

    >>> name_of_today("nn_jet_pT"), name_of_today("track_pT_3"), name_of_today("mH")
    ('jet_pt', 'track_pt_3', 'llp_mH')
    """
    plain = _OLD_PT.sub("_pt", _OLD_PREFIX.sub("", name))
    return _RENAMED.get(plain, plain)


def flat_names(present: Iterable[str]) -> FlatNames:
    """Assigns the columns of a frame. If an old and a new name are both present, the new one is used."""
    source: dict[str, str] = {}
    dropped = []
    for name in present:
        new_name = name_of_today(name)
        if _DROPPED.match(new_name) or (new_name in source and name != new_name):
            dropped.append(name)
            continue
        if new_name in source:
            dropped.append(source[new_name])
        source[new_name] = name
    return FlatNames(source, dropped, [name for name in EVENT_SCALARS if name not in source])


def _together(slots: Iterable[str]) -> list[str]:
    """Slot columns by feature, as 'clus_time_0..29' or 'clus_time_29'."""
    numbers: dict[str, list[int]] = {}
    for name in slots:
        stem = _SLOT.sub("", name)
        numbers.setdefault(stem, []).append(int(name[len(stem) + 1 :]))
    return [
        f"{stem}_{min(found)}" + (f"..{max(found)}" if len(found) > 1 else "")
        for stem, found in sorted(numbers.items())
    ]
