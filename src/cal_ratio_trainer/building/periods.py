"""Data-taking periods of Run 2, and which of them a simulated sample stands for."""

from collections.abc import Mapping

RUNS_OF_SIMULATION = {284500: "2015-2016", 300000: "2017", 310000: "2018"}
"""runNumber of the simulation -> the data that it stands for (the `campaign` branch says mc16a whatever it is)."""

ALL_PERIODS = "all"
"""The period of everything where one luminosity is given, or none."""

_PB_A_FB = 1000.0
_DIGITS_OF_A_RUN = 6


def known_period(name: str) -> bool:
    """Whether a period of the settings can belong to any simulation: a name of this table, or a runNumber."""
    return name in RUNS_OF_SIMULATION.values() or (name.isdecimal() and len(name) >= _DIGITS_OF_A_RUN)


def period_of(run: int | None, luminosity_fb: float | Mapping[str, float] | None) -> str | None:
    """The period that simulation with this runNumber stands for; None where the settings have none for it.

    >>> period_of(300000, {"2017": 44.3})
    '2017'
    >>> period_of(300000, 139.0)
    'all'
    """
    if not isinstance(luminosity_fb, Mapping):
        return ALL_PERIODS
    names = [] if run is None else [str(run), RUNS_OF_SIMULATION.get(run, "")]
    return next((name for name in names if name in luminosity_fb), None)


def luminosity_pb(period: str, luminosity_fb: float | Mapping[str, float] | None) -> float:
    """Luminosity of a period in 1/pb; 1 where none is given, so that weights are cross sections in pb."""
    if luminosity_fb is None:
        return 1.0
    return _PB_A_FB * (luminosity_fb[period] if isinstance(luminosity_fb, Mapping) else luminosity_fb)
