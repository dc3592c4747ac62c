"""Simulated samples: the one that each input file belongs to, its period, and its initial sum of weights."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cal_ratio_trainer.building.scan import ScannedFile
from cal_ratio_trainer.config.build import BuildSettings
from cal_ratio_trainer.errors import UserError
from cal_ratio_trainer.jets.labels import DataType
from cal_ratio_trainer.jets.metadata import Normalisation

RUNS_OF_SIMULATION = {284500: "2015-2016", 300000: "2017", 310000: "2018"}
"""runNumber of the simulation -> the data that it stands for (the `campaign` branch says mc16a whatever it is)."""

ALL_PERIODS = "all"
"""The period of everything if one luminosity is given, or none."""

_PB_A_FB = 1000.0

INITIAL_SUM = "sumOfWeights initial"
"""The bin of MetaData_EventCount that says how much was simulated before any selection."""

_NAMED = 5


def period_of(run: int | None, luminosity_fb: float | Mapping[str, float] | None) -> str | None:
    """The period that simulation with this runNumber stands for; None if the settings have none for it.

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
    """Luminosity of a period in 1/pb; 1 if none is given, so that weights are cross sections in pb."""
    if luminosity_fb is None:
        return 1.0
    return _PB_A_FB * (luminosity_fb[period] if isinstance(luminosity_fb, Mapping) else luminosity_fb)


class SampleError(UserError):
    """Simulated jets cannot be weighed; names the samples or files, and what is missing."""


@dataclass(frozen=True, order=True)
class SampleKey:
    """A sample: its mcChannelNumber and the data-taking period that it stands for."""

    channel: int
    period: str


@dataclass
class SampleSums:
    """Sums over the files of one sample.

    Attributes:
        initial_sum_of_weights: over all files, the empty ones included; None if the sum of a file is unknown.
        files: number of files.
        empty_files: number of files without events.
        without_sum: files that do not know their sum.
    """

    initial_sum_of_weights: float = 0.0
    files: int = 0
    empty_files: int = 0
    without_sum: list[str] = field(default_factory=list)


def multijet_channels(files: Sequence[ScannedFile]) -> list[int]:
    """mcChannelNumber of all samples that taken multijets come from, if they are known, rising."""
    found: set[int] = set()
    for file in files:
        found |= set(_column_values(file, "mcChannelNumber"))
    return sorted(found)


def sample_of_each(files: Sequence[ScannedFile], settings: BuildSettings) -> dict[int, SampleKey]:
    """The sample of each file of simulated multijets, by the file's position.

    A file knows it from its events or from the settings (`channel`). One without events belongs to the sample that the
    files beside it in its folder have, or else the files of the same entry of the settings.

    Raises:
        SampleError: a file belongs to several samples, or it cannot be told to which.
    """
    own = {place: _own_key(file, settings) for place, file in enumerate(files) if may_hold_multijets(file)}
    known: dict[int, SampleKey] = {place: key for place, key in own.items() if key is not None}
    by_folder: dict[Path, set[SampleKey]] = defaultdict(set)
    by_entry: dict[int, set[SampleKey]] = defaultdict(set)
    for place, key in known.items():
        by_folder[files[place].source.path.parent].add(key)
        by_entry[id(files[place].source.request)].add(key)
    lost = []
    for place in own.keys() - known.keys():
        source = files[place].source
        beside = by_folder[source.path.parent] or by_entry[id(source.request)]
        candidates = {key for key in beside if source.request.channel in (None, key.channel)}
        if len(candidates) == 1:
            known[place] = next(iter(candidates))
        else:
            lost.append(place)
    if lost:
        raise SampleError(_files_without_sample(files, sorted(lost)))
    return dict(sorted(known.items()))


def may_hold_multijets(file: ScannedFile) -> bool:
    """True for files of multijet simulation, and for frames that say nothing of themselves but hold label 0."""
    if file.data_type is not None:
        return file.data_type is DataType.QCD
    return bool(file.is_multijet.any())


def sums_of_samples(files: Sequence[ScannedFile], sample_of: dict[int, SampleKey]) -> dict[SampleKey, SampleSums]:
    """Sums over the files of each sample; an ntuple from which several of them come counts once."""
    found: dict[SampleKey, SampleSums] = defaultdict(SampleSums)
    counted: set[object] = set()
    for place, key in sample_of.items():
        file = files[place]
        identity = tuple((each.path, each.size_bytes) for each in file.metadata.inputs) or file.source.path.resolve()
        if identity in counted:
            continue
        counted.add(identity)
        sums = found[key]
        sums.files += 1
        normalisation = file.metadata.normalisation or Normalisation()
        sums.empty_files += normalisation.events_read == 0 and file.rows == 0
        initial = _initial_sum(file)
        if initial is None:
            sums.without_sum.append(file.source.given_as)
        else:
            sums.initial_sum_of_weights += initial
    return dict(found)


def _own_key(file: ScannedFile, settings: BuildSettings) -> SampleKey | None:
    """Key from the file itself and the settings; None if they have none."""
    normalisation = file.metadata.normalisation or Normalisation()
    channels = normalisation.channel_numbers or _column_values(file, "mcChannelNumber")
    runs: list[int] = normalisation.run_numbers or _column_values(file, "runNumber")
    given = file.source.request.channel
    if given is not None:
        if channels not in ([], [given]):
            said = " and ".join(map(str, channels))
            raise SampleError(f"{file.source.given_as}: holds sample {said}; the settings give channel {given}")
        channels = [given]
    if not channels and not file.rows:
        return None
    if not channels:
        hint = "give channel: <mcChannelNumber> beside its input_file"
        raise SampleError(f"{file.source.given_as}: does not say which sample its jets belong to; {hint}")
    if len(channels) > 1:
        held = f"jets of {len(channels)} samples ({_some(map(str, channels))})"
        raise SampleError(f"{file.source.given_as}: holds {held}, but only one initial sum of weights for all of them")
    return _with_period(file, channels[0], runs, settings)


def _with_period(file: ScannedFile, channel: int, runs: Sequence[int], settings: BuildSettings) -> SampleKey | None:
    luminosity = settings.period_luminosity_fb
    if not runs and file.rows == 0 and isinstance(luminosity, dict):
        return None
    periods = {period_of(run, luminosity) for run in runs} or {period_of(None, luminosity)}
    if len(periods) != 1:
        raise SampleError(f"{file.source.given_as}: holds simulation for several periods ({_some(map(str, runs))})")
    period = periods.pop()
    if period is None:
        said = _some(map(str, runs)) or "unknown"
        raise SampleError(
            f"{file.source.given_as}: period_luminosity_fb has no entry for simulation of runNumber {said}, only for "
            f"{_some(luminosity if isinstance(luminosity, dict) else [])}"
        )
    return SampleKey(channel, period)


def _column_values(file: ScannedFile, name: str) -> list[int]:
    """The known values of a column for multijets, rising, each once; none without the column."""
    if name not in file.columns.column_names:
        return []
    values: list[int] = file.columns.column(name).filter(file.is_multijet).drop_null().unique().to_pylist()
    return sorted(values)


def _initial_sum(file: ScannedFile) -> float | None:
    """Initial sum of weights of the file, scaled to the events that convert read."""
    normalisation = file.metadata.normalisation or Normalisation()
    total = normalisation.event_count.get(INITIAL_SUM)
    events = int(file.metadata.details.get("events_in_file", normalisation.events_read))
    if total is None or normalisation.events_read >= events:
        return total
    return total * normalisation.events_read / events


def _files_without_sample(files: Sequence[ScannedFile], lost: Sequence[int]) -> str:
    names = _some([files[place].source.given_as for place in lost])
    count = f"{len(lost)} files without events do" if len(lost) != 1 else "a file without events does"
    return (
        f"{count} not say which sample they belong to, and the other files of their folders do not tell: {names}; "
        "their initial sums of weights are needed, so give channel: <mcChannelNumber> beside their input_file"
    )


def _some(names: Iterable[str]) -> str:
    listed = list(names)
    more = f" and {len(listed) - _NAMED} more" if len(listed) > _NAMED else ""
    return ", ".join(listed[:_NAMED]) + more
