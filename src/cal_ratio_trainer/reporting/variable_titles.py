"""Titles of the axes of figures of variables: a physicist's name and the unit."""

from cal_ratio_trainer.evaluation.variables import Variable
from cal_ratio_trainer.jets.metadata import Scaling
from cal_ratio_trainer.plotting.variables import plain_text

_SCALED = "scaled to 0-1"
_SCALARS = {
    "mcEventWeight": "Event weight",
    "llp_mH": "$m_H$",
    "llp_mS": "$m_S$",
    "llp_pt": "LLP $p_T$",
    "llp_eta": r"LLP $\eta$",
    "llp_phi": r"LLP $\phi$",
    "llp_Lxy": "LLP $L_{xy}$",
    "llp_Lz": "LLP $L_z$",
}
_LONGEST_COLUMN = 60
_SAID_BY_TITLE = ("1", "tracks", "hits")


def axis_title(variable: Variable, unit: str, scaling: Scaling | None) -> str:
    """The title of an axis, in matplotlib's text.

    Args:
        variable: what is shown.
        unit: as files say it, e.g. 'rad from the jet'; may be empty.
        scaling: the range that became 0 to 1, where all files that are shown have the same.
    """
    measured, origin = _unit_and_origin(unit)
    if unit == _SCALED and scaling is not None:
        measured = _scaled(scaling)
    title = f"{_name(variable)}{f' {origin}' if origin else ''}"
    return f"{title} [{measured}]" if measured else title


def _name(variable: Variable) -> str:
    kind = variable.kind
    feature = variable.schema.columns.get(variable.column)
    title = "" if feature is None else feature.title or plain_text(feature.name, _LONGEST_COLUMN)
    if kind is None:
        return title or _SCALARS.get(variable.name, plain_text(variable.name, _LONGEST_COLUMN))
    what = kind.name.replace("_", " ").removesuffix("s")
    if variable.shape == "count":
        return f"Number of {what}s"
    if variable.shape == "all":
        return f"{what.capitalize()} {title}"
    return f"{_ordinal(variable.slot, kind.sorted_by == 'pt')} {what} {title}"


def _ordinal(slot: int, by_pt: bool) -> str:
    if slot == 0 and by_pt:
        return "Leading"
    number = slot + 1
    ending = {1: "st", 2: "nd", 3: "rd"}.get(number % 10 if number % 100 not in (11, 12, 13) else 0, "th")
    return f"{number}{ending}"


def _unit_and_origin(unit: str) -> tuple[str, str]:
    """'rad from the jet' -> ('rad', 'from the jet'); '1' and what repeats the title are no unit."""
    if unit.startswith("from "):
        return "", unit
    measured, separator, origin = unit.partition(" from ")
    if separator:
        return measured, f"from {origin}"
    return ("" if unit in _SAID_BY_TITLE else plain_text(unit, _LONGEST_COLUMN)), ""


def _scaled(scaling: Scaling) -> str:
    width = scaling.max_jet_pt - scaling.min_jet_pt
    if scaling.min_jet_pt == 0:
        return f"{width:g} GeV"
    return f"scaled: {scaling.min_jet_pt:g}–{scaling.max_jet_pt:g} GeV to 0–1"
