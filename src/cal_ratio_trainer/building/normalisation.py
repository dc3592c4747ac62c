"""Weighs simulated multijets by cross section and luminosity, so that slices of pt make one spectrum."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cal_ratio_trainer.building.samples import (
    ALL_PERIODS,
    RUNS_OF_SIMULATION,
    SampleError,
    SampleKey,
    SampleSums,
    luminosity_pb,
    multijet_channels,
    sample_of_each,
    sums_of_samples,
)
from cal_ratio_trainer.building.scan import ScannedFile
from cal_ratio_trainer.config.build import BuildSettings, SimulatedSample, read_samples
from cal_ratio_trainer.errors import ConfigError, InputFileError, MissingColumn
from cal_ratio_trainer.jets.labels import Label
from cal_ratio_trainer.ntuple.summary import failed_in

WEIGHT = "mcEventWeight"
PILEUP_WEIGHT = "pileupWeight"
SAMPLED_FRACTION = "sampled_fraction"
"""In the details of a file that `resample` made: the share of the jets of each label that was taken."""

_DIGITS_OF_A_RUN = 6

Weights = NDArray[np.float64]


@dataclass(frozen=True)
class SampleWeight:
    """Normalisation of the jets of one sample.

    Attributes:
        effective_pb: cross section times filter efficiency times k-factor [pb].
        luminosity_pb: [1/pb]; 1 if the weights are cross sections in pb.
        initial_sum_of_weights: over all files that were converted.
        factor: factor of mcEventWeight.
        files, empty_files: number of files, and of those without events.
        failed_files: ntuples that could not be converted, in neither jets nor sum.
    """

    channel: int
    period: str
    effective_pb: float
    luminosity_pb: float
    initial_sum_of_weights: float
    factor: float
    files: int
    empty_files: int
    failed_files: tuple[str, ...] = ()


@dataclass(frozen=True)
class NormalisedWeights:
    """The weights of all taken jets.

    Attributes:
        weights: [taken] of each file, in the order of the files.
        samples: normalisation of each sample; empty for the weights of the files.
        sample_of: the number in `samples` of each file of simulated multijets, by the file's position.
    """

    weights: list[Weights]
    samples: tuple[SampleWeight, ...] = ()
    sample_of: dict[int, int] | None = None


def check_samples_are_given(files: Sequence[ScannedFile], settings: BuildSettings) -> None:
    """Refuses to mix multijets of several samples with weights that cannot be compared.

    Raises:
        SampleError: there are several samples, and the settings neither have a table of them nor allow the mixture.
    """
    channels = multijet_channels([file for file in files if not file.is_built])
    if settings.samples is None and settings.normalise == "samples" and len(channels) > 1:
        names = ", ".join(map(str, channels))
        raise SampleError(
            f"simulated multijets come from {len(channels)} samples (mcChannelNumber {names}), and mcEventWeight alone "
            "does not give their relative normalisation: give samples (a table with cross_section_pb and "
            "filter_efficiency of each), or normalise: none to use mcEventWeight as it is"
        )


def file_weights(file: ScannedFile) -> Weights:
    """mcEventWeight of the taken jets of a file, [taken].

    Raises:
        MissingColumn, InputFileError: it is not there, or not known for some jets.
    """
    if WEIGHT not in file.columns.column_names:
        if not len(file.taken):
            return np.zeros(0)
        raise MissingColumn(file.source.given_as, [WEIGHT], file.columns.column_names)
    column = file.columns.column(WEIGHT)
    if column.null_count:
        raise InputFileError(file.source.given_as, f"{WEIGHT} is not known for {column.null_count} jets")
    weights: Weights = column.to_numpy().astype(np.float64)
    return weights


def normalised_weights(files: Sequence[ScannedFile], settings: BuildSettings) -> NormalisedWeights:
    """Normalises simulated multijets by their samples; all other jets, and all jets without samples, keep their weight.

    A multijet's weight is mcEventWeight (times pileupWeight if asked for) times cross section, filter efficiency,
    k-factor and luminosity, divided by the initial sum of weights of its sample, and by the share of jets that
    num_events or an earlier `resample` took.

    Raises:
        SampleError: a sample is not in the table, or its initial sum of weights is not known.
        InputFileError, MissingColumn: a weight is not known.
        ConfigError: a period of the settings is none.
    """
    weights = [file_weights(file) for file in files]
    if settings.samples is None:
        return NormalisedWeights(weights)
    _check_periods(settings)
    sample_of = sample_of_each(files, settings)
    sums = sums_of_samples(files, sample_of)
    failed = _failed_by_sample(files, sample_of)
    table = read_samples(settings.samples) if isinstance(settings.samples, Path) else settings.samples
    keys = sorted(sums)
    samples = tuple(_weight_of(key, sums[key], _row(key, table), settings, failed[key]) for key in keys)
    shares = _shares_taken(files)
    for place, key in sample_of.items():
        if len(files[place].taken):
            is_multijet = files[place].is_multijet
            factor = samples[keys.index(key)].factor / shares[place]
            extra = _pileup_weights(files[place])[is_multijet] if settings.pileup_weight else 1.0
            weights[place][is_multijet] *= factor * extra
    return NormalisedWeights(weights, samples, {place: keys.index(key) for place, key in sample_of.items()})


def _check_periods(settings: BuildSettings) -> None:
    if isinstance(settings.period_luminosity_fb, dict):
        runs = {name for name in settings.period_luminosity_fb if name.isdecimal() and len(name) >= _DIGITS_OF_A_RUN}
        wrong = [name for name in settings.period_luminosity_fb if name not in {*RUNS_OF_SIMULATION.values(), *runs}]
        if wrong:
            raise ConfigError(
                f"period_luminosity_fb: {name} is no period (2015-2016, 2017, 2018) and no runNumber" for name in wrong
            )


def _row(key: SampleKey, table: dict[int, SimulatedSample]) -> SimulatedSample:
    if key.channel not in table:
        known = ", ".join(map(str, sorted(table)))
        raise SampleError(f"samples: there is no {key.channel} (mcChannelNumber); there are {known}")
    return table[key.channel]


def _weight_of(
    key: SampleKey, sums: SampleSums, sample: SimulatedSample, settings: BuildSettings, failed: list[str]
) -> SampleWeight:
    initial = sums.initial_sum_of_weights
    if sample.initial_sum_of_weights is not None:
        if isinstance(settings.period_luminosity_fb, dict) and len(settings.period_luminosity_fb) > 1:
            raise SampleError(f"samples: initial_sum_of_weights of {key.channel} cannot hold for several periods")
        initial = sample.initial_sum_of_weights
    elif sums.without_sum:
        raise SampleError(
            f"{sums.without_sum[0]}: has no MetaData_EventCount, so the initial sum of weights of sample {key.channel} "
            f"is not known ({len(sums.without_sum)} of {sums.files} files); samples can give it: initial_sum_of_weights"
        )
    if not (np.isfinite(initial) and initial > 0):
        raise SampleError(f"sample {key.channel}: the initial sum of weights of its {sums.files} files is {initial:g}")
    luminosity = luminosity_pb(key.period, settings.period_luminosity_fb)
    return SampleWeight(
        channel=key.channel,
        period=key.period,
        effective_pb=sample.effective_pb,
        luminosity_pb=luminosity,
        initial_sum_of_weights=initial,
        factor=sample.effective_pb * luminosity / initial,
        files=sums.files,
        empty_files=sums.empty_files,
        failed_files=tuple(failed),
    )


def _failed_by_sample(files: Sequence[ScannedFile], sample_of: dict[int, SampleKey]) -> dict[SampleKey, list[str]]:
    """The ntuples that convert left out in the folders of each sample, with the reasons."""
    folders: dict[Path, SampleKey] = {files[place].source.path.parent: key for place, key in sample_of.items()}
    found: dict[SampleKey, list[str]] = defaultdict(list)
    for folder, key in folders.items():
        found[key] += [f"{name} ({reason})" for name, reason in failed_in(folder).items()]
    return found


def _shares_taken(files: Sequence[ScannedFile]) -> list[float]:
    """For each file the share of its jets that num_events and an earlier `resample` took, of what the filter left."""
    passed: dict[int, int] = defaultdict(int)
    taken: dict[int, int] = defaultdict(int)
    for file in files:
        passed[id(file.source.request)] += file.passed
        taken[id(file.source.request)] += len(file.taken)
    shares = []
    for file in files:
        entry = id(file.source.request)
        before: dict[str, Any] = file.metadata.details.get(SAMPLED_FRACTION, {})
        share = taken[entry] / passed[entry] if passed[entry] else 1.0
        shares.append(share * float(before.get(str(int(Label.QCD)), 1.0)))
    return shares


def _pileup_weights(file: ScannedFile) -> Weights:
    if PILEUP_WEIGHT not in file.columns.column_names:
        hint = f"convert its ntuples again with --keep_branches {PILEUP_WEIGHT}"
        raise InputFileError(file.source.given_as, f"has no {PILEUP_WEIGHT}; {hint}")
    column = file.columns.column(PILEUP_WEIGHT)
    weights: Weights = column.to_numpy().astype(np.float64)
    if column.null_count or not np.isfinite(weights).all():
        raise InputFileError(file.source.given_as, f"{PILEUP_WEIGHT} is not known for some jets")
    if not weights.any():
        raise InputFileError(file.source.given_as, f"{PILEUP_WEIGHT} is 0 for all jets, as in data; is it simulation?")
    return weights


def weights_in_words(samples: Sequence[SampleWeight]) -> str:
    """Describes the weights of normalised multijets in words."""
    if all(sample.luminosity_pb == 1.0 and sample.period == ALL_PERIODS for sample in samples):
        return "weights of simulated multijets are cross sections in pb"
    total = sum({sample.period: sample.luminosity_pb for sample in samples}.values()) / 1000
    return f"weights of simulated multijets are numbers expected in {total:g}/fb"
