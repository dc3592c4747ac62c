"""Weights of a build, in the order of its steps: samples, simulation to data, flattening, largest share."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from cal_ratio_trainer.building.flattening import BeforeAfter, WeightedPoints, edges_for, flattened, like, spectra
from cal_ratio_trainer.building.normalisation import (
    WEIGHT,
    NormalisedWeights,
    SampleWeight,
    check_samples_are_given,
    normalised_weights,
    weights_in_words,
)
from cal_ratio_trainer.building.scan import ScannedFile, label_name, with_column
from cal_ratio_trainer.config.build import BuildSettings
from cal_ratio_trainer.errors import ConfigError, InputFileError, did_you_mean
from cal_ratio_trainer.evaluation.histograms import Doubles, Spectra
from cal_ratio_trainer.evaluation.scored import effective_number
from cal_ratio_trainer.jets.labels import CONTROL_DATA, CONTROL_MC, Label

MIN_EFFECTIVE = 20.0
"""Effective sample size below which a distribution is too uncertain to reweight with."""

_USUAL = ("jet_pt", "jet_eta")


@dataclass(frozen=True)
class Weighing:
    """The weights of the taken jets, and how they came about.

    Attributes:
        weights: [taken] of each file, written as mcEventWeight; None keeps those in the files.
        samples: normalisation of each simulated sample.
        sample_of: the number in `samples` of each file of simulated multijets, by the file's position.
        steps: distributions before and after each step, if a report was asked for.
        result: distributions of the classes with the final weights, if a report was asked for.
        notes: descriptions of the steps, one sentence each.
    """

    weights: list[Doubles] | None = None
    samples: tuple[SampleWeight, ...] = ()
    sample_of: dict[int, int] = field(default_factory=dict)
    steps: tuple[BeforeAfter, ...] = ()
    result: tuple[Spectra, ...] = ()
    notes: tuple[str, ...] = ()

    def applied_to(self, files: Sequence[ScannedFile]) -> list[ScannedFile]:
        """The files with their final weights among the columns."""
        if self.weights is None:
            return list(files)
        return [
            replace(file, columns=with_column(file.columns, WEIGHT, pa.array(own)), weights=own)
            for file, own in zip(files, self.weights, strict=True)
        ]


def weigh(files: Sequence[ScannedFile], settings: BuildSettings) -> Weighing:
    """The weights of all taken jets.

    Raises:
        SampleError: multijets of several samples without a table of samples, or one that lacks something.
        InputFileError, MissingColumn: a weight or a variable is not known.
        ConfigError: a variable to weigh by is no column.
    """
    check_samples_are_given(files, settings)
    if settings.samples is None and not (settings.reweight_mc or settings.flatten or settings.max_weight_share):
        return Weighing(result=_result(_TakenJets(files, settings, _file_weights(files), [], [])))
    normalised = normalised_weights(files, settings)
    jets = _TakenJets(files, settings, np.concatenate([np.zeros(0), *normalised.weights]), [], [])
    if settings.samples is not None:
        _note_samples(jets, normalised)
    for step, change in ((settings.reweight_mc, _simulation_to_data), (settings.flatten, _flatten)):
        if step:
            jets.apply(change)
    if settings.max_weight_share is not None:
        _limit_shares(jets, settings.max_weight_share)
    ends = np.cumsum([len(file.taken) for file in files])
    return Weighing(
        weights=np.split(jets.weights, ends[:-1]) if len(files) else [],
        samples=normalised.samples,
        sample_of=normalised.sample_of or {},
        steps=tuple(jets.steps),
        result=_result(jets),
        notes=tuple(jets.notes),
    )


@dataclass
class _TakenJets:
    """The taken jets of all files; the steps change their weights in turn."""

    files: Sequence[ScannedFile]
    settings: BuildSettings
    weights: Doubles
    steps: list[BeforeAfter]
    notes: list[str]

    def apply(self, change: Callable[["_TakenJets"], tuple[str, Sequence[str]]]) -> None:
        """Changes the weights, and keeps the distributions before and after for the report."""
        before = self.weights.copy()
        step, variables = change(self)
        if self.settings.report:
            drawn = tuple(dict.fromkeys([*variables, *_USUAL]))
            shown = (tuple(self.spectra(name, weights) for name in drawn) for weights in (before, self.weights))
            self.steps.append(BeforeAfter(step, *shown))

    def labels(self) -> NDArray[np.int8]:
        """[taken jets]"""
        return np.concatenate([np.zeros(0, dtype=np.int8), *(file.labels for file in self.files)])

    def classes(self) -> dict[str, NDArray[np.bool_]]:
        """The jets of each class by its name, [taken jets]."""
        labels = self.labels()
        return {label_name(int(label), self.settings.kind): labels == label for label in np.unique(labels)}

    def variable(self, name: str) -> Doubles:
        """A column of all taken jets, [taken jets]. Raises ConfigError, InputFileError."""
        return np.concatenate([np.zeros(0), *(_values(file, name) for file in self.files)])

    def spectra(self, variable: str, weights: Doubles) -> Spectra:
        """Distributions of the classes with weights [taken jets]."""
        values = self.variable(variable)
        return spectra(variable, values, weights, self.classes(), edges_for(values))

    def points(self, variables: Sequence[str], own: NDArray[np.bool_]) -> WeightedPoints:
        """Some jets in the space of variables."""
        return WeightedPoints(np.stack([self.variable(name)[own] for name in variables], axis=1), self.weights[own])


def _values(file: ScannedFile, name: str) -> Doubles:
    if not len(file.taken):
        return np.zeros(0)
    if name not in file.columns.column_names:
        raise ConfigError(
            [
                f"{file.source.given_as}: has no column {name} to reweight in{did_you_mean(name, file.scalar_names)}; "
                f"--keep_branches {name} of convert keeps a branch of the ntuples"
            ]
        )
    column = file.columns.column(name)
    values: Doubles = column.to_numpy().astype(np.float64)
    unknown = int(np.count_nonzero(~np.isfinite(values)))
    if unknown:
        raise InputFileError(file.source.given_as, f"{name} is not known for {unknown} jets, and weights depend on it")
    return values


def _note_samples(jets: _TakenJets, normalised: NormalisedWeights) -> None:
    jets.notes.append(weights_in_words(normalised.samples))
    if jets.settings.kind == "main":
        jets.notes.append("classes now differ in their sums of weights: train with --loss_weights balanced")
    for sample in normalised.samples:
        if sample.failed_files:
            count = f"{len(sample.failed_files)} file{'s' if len(sample.failed_files) > 1 else ''}"
            more = " and more" if len(sample.failed_files) > 3 else ""
            jets.notes.append(
                f"sample {sample.channel}: {count} could not be converted and are in neither jets nor sum of weights: "
                f"{', '.join(sample.failed_files[:3])}{more}"
            )
    if jets.settings.report:
        values, groups = jets.variable("jet_pt"), _by_sample(jets, normalised)
        both = (_file_weights(jets.files), jets.weights)
        before, after = (spectra("jet_pt", values, weights, groups, edges_for(values)) for weights in both)
        jets.steps.append(BeforeAfter("samples", (before,), (after,)))


def _result(jets: _TakenJets) -> tuple[Spectra, ...]:
    return tuple(jets.spectra(name, jets.weights) for name in _USUAL) if jets.settings.report else ()


def _file_weights(files: Sequence[ScannedFile]) -> Doubles:
    """mcEventWeight as it is in the files, [taken jets]; 1 if it is not known."""
    parts = [
        np.nan_to_num(file.columns.column(WEIGHT).to_numpy().astype(np.float64), nan=1.0)
        if WEIGHT in file.columns.column_names
        else np.ones(len(file.taken))
        for file in files
    ]
    return np.concatenate([np.zeros(0), *parts])


def _by_sample(jets: _TakenJets, normalised: NormalisedWeights) -> dict[str, NDArray[np.bool_]]:
    number = [(normalised.sample_of or {}).get(place, -1) for place in range(len(jets.files))]
    of_jet = np.repeat(number, [len(file.taken) for file in jets.files])
    of_jet[jets.labels() != Label.QCD] = -1
    several = len({sample.period for sample in normalised.samples}) > 1
    return {
        f"{sample.channel} {sample.period}" if several else f"{sample.channel}": of_jet == place
        for place, sample in enumerate(normalised.samples)
    }


def _simulation_to_data(jets: _TakenJets) -> tuple[str, Sequence[str]]:
    variables, labels = jets.settings.reweight_mc, jets.labels()
    simulation, data = labels == CONTROL_MC, labels == CONTROL_DATA
    for own, what in ((simulation, "multijet simulation"), (data, "multijet data")):
        number = effective_number(jets.weights[own])
        if number < MIN_EFFECTIVE:
            raise ConfigError(
                [f"reweight_mc: {own.sum()} jets of {what} (effective sample size {number:.1f}) are too few"]
            )
    jets.weights[simulation] = like(jets.points(variables, simulation), jets.points(variables, data))
    after = effective_number(jets.weights[simulation])
    jets.notes.append(
        f"multijet simulation was reweighted to the data in {' and '.join(variables)}: its {simulation.sum()} jets "
        f"have an effective sample size of {after:.1f} and the sum of weights of the data, "
        f"{jets.weights[simulation].sum():.6g}"
    )
    return "reweight_mc", variables


def _flatten(jets: _TakenJets) -> tuple[str, Sequence[str]]:
    variables = jets.settings.flatten
    for name, own in jets.classes().items():
        before = effective_number(jets.weights[own])
        if before < MIN_EFFECTIVE:
            jets.notes.append(
                f"{name}: the effective sample size {before:.1f} is too small to flatten; the weights are unchanged"
            )
            continue
        jets.weights[own] = flattened(jets.points(variables, own))
        after = effective_number(jets.weights[own])
        jets.notes.append(
            f"{name} was reweighted to be flat in {' and '.join(variables)}: its {own.sum()} jets have an effective "
            f"sample size of {after:.1f} (before: {before:.1f}); the sum of weights is unchanged"
        )
    return "flatten", variables


def _limit_shares(jets: _TakenJets, share: float) -> None:
    for name, own in jets.classes().items():
        found = capped(jets.weights[own], share)
        if found is not None:
            jets.weights[own] = found.weights
            jets.notes.append(
                f"{name}: {found.jets} of {own.sum()} weights were lowered to {found.limit:.6g} (max_weight_share "
                f"{share:g}), which lowers their sum by {100 * found.share_lost:.3g} %"
            )


@dataclass(frozen=True)
class Capped:
    """Weights of one class after the largest were lowered.

    Attributes:
        weights: [jets].
        limit: upper limit of the weights.
        jets: number of reduced weights.
        share_lost: reduction of the sum of weights, as a share of it.
    """

    weights: Doubles
    limit: float
    jets: int
    share_lost: float


def capped(weights: Doubles, share: float) -> Capped | None:
    """Lowers the largest weights so that none is more than a share of the sum of the lowered weights.

    Weights count by their size; weights of generators may be negative, and keep their sign.

    Args:
        weights: weights of the jets of one class, [jets].
        share: the largest share [1]. Where there are fewer jets than 1 / share, no limit can reach it, and all that is
            above the smallest weight is lowered to it.

    Returns:
        None if no weight is too large.
    """
    sizes = np.abs(weights)
    total = float(sizes.sum())
    if not len(sizes) or not sizes.max() > share * total * (1 + 1e-12):
        return None
    falling = -np.sort(-sizes)
    # With the largest n lowered to a limit, limit = share * (n * limit + rest): the first n that fits its own limit.
    lowered = np.arange(1, len(falling) + 1)
    rest = np.concatenate([(total - np.cumsum(falling))[:-1], [0.0]])
    with np.errstate(divide="ignore", invalid="ignore"):
        limits = np.where(lowered * share < 1, share * np.maximum(rest, 0.0) / (1 - lowered * share), np.nan)
    following = np.append(falling[1:], 0.0)
    fits = np.flatnonzero((limits >= following) & (limits <= falling) & (limits > 0))
    limit = float(limits[fits[0]]) if len(fits) else float(falling[-1])
    low = np.minimum(sizes, limit)
    return Capped(np.sign(weights) * low, limit, int((sizes > limit).sum()), 1 - float(low.sum()) / total)
