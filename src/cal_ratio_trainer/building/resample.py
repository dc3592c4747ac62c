"""Takes a random fraction of a file of jets, the same of each label."""

import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cal_ratio_trainer.building.normalisation import SAMPLED_FRACTION, WEIGHT
from cal_ratio_trainer.building.scan import label_name
from cal_ratio_trainer.config.build import ResampleSettings
from cal_ratio_trainer.files.atomic import sha256_of
from cal_ratio_trainer.files.cache import local_copy
from cal_ratio_trainer.jets.jet_file import JetFile
from cal_ratio_trainer.jets.labels import Label
from cal_ratio_trainer.jets.loading import check_output, open_jets, writing_layout
from cal_ratio_trainer.jets.metadata import InputFile, JetMetadata
from cal_ratio_trainer.jets.ragged import IndexArray
from cal_ratio_trainer.jets.table import Jets
from cal_ratio_trainer.progress import progress
from cal_ratio_trainer.results import Result

_log = logging.getLogger(__name__)


@dataclass(frozen=True, repr=False)
class ResampleSummary(Result):
    """Numbers of all and of taken jets by label, and the factor of the multijets' weights."""

    output_file: Path
    jets: dict[int, int]
    taken: dict[int, int]
    kind: str | None
    factor: float = 1.0

    def as_text(self) -> str:
        """The table that is printed."""
        name = {label: label_name(label, "control" if self.kind == "control" else "main") for label in self.jets}
        lines = [f"{'class':<16}{'jets':>12}{'taken':>12}"]
        lines += [f"{name[label]:<16}{self.jets[label]:>12}{self.taken[label]:>12}" for label in self.jets]
        if self.factor != 1:
            lines.append(f"weights of simulated multijets were multiplied by {self.factor:.6g} for the jets left out")
        return "\n".join(lines)

    @property
    def headline(self) -> str:
        """See `Result`."""
        return f"{sum(self.taken.values())} of {sum(self.jets.values())} jets in {self.output_file}"

    def records(self) -> Sequence[Mapping[str, Any]]:
        """One row per class."""
        return [{"label": label, "jets": self.jets[label], "taken": self.taken[label]} for label in self.jets]


def resample_file(settings: ResampleSettings) -> ResampleSummary:
    """Writes a random fraction of the jets of a file, in their old order; class shares are kept.

    The weights of multijets that were weighed by cross section are divided by the fraction, so that their sum stays the
    same; of a converted file the fraction is noted, and a later build takes it into account. Other weights stay.

    Raises:
        InputFileError: the input cannot be read, or the output exists or is the input.
    """
    source = local_copy(settings.input_file, settings.cache_path)
    check_output(settings.output_file, [source], settings.overwrite)
    file = open_jets(source)
    labels = file.scalars(["label"]).column("label").to_numpy()
    taken = sample_by_label(labels, settings.fraction, np.random.default_rng(settings.seed))
    fractions = _fractions(labels, labels[taken])
    # Weights of simulated multijets that were normalised by cross section are to keep their sum.
    is_weighed = file.metadata.stage == "built" and bool(file.metadata.details.get("weights", {}).get("samples"))
    share = fractions.get(str(int(Label.QCD)), 0.0)
    factor = 1 / share if is_weighed and share > 0 else 1.0
    with (
        writing_layout(settings.output_file, "ragged") as writer,
        progress("resample", file.rows, "jets") as line,
    ):
        for batch, own in _batches_with(file, taken):
            jets = batch.take(own)
            if factor != 1 and WEIGHT in jets:
                factors = np.where(jets.label == Label.QCD, factor, 1.0)
                jets = jets.with_columns({WEIGHT: factors * jets[WEIGHT]})
            writer.write(jets)
            line.advance(len(batch))
        writer.finish(_metadata(settings, file.metadata, source, fractions, factor))
    known = [int(label) for label in np.unique(labels)]
    lost = sorted(set(known) - set(labels[taken].tolist()))
    if lost:
        _log.warning("%s: no jet of label %s is left", settings.output_file, " and ".join(map(str, lost)))
    return ResampleSummary(
        output_file=settings.output_file,
        jets={label: int(np.sum(labels == label)) for label in known},
        taken={label: int(np.sum(labels[taken] == label)) for label in known},
        kind=file.metadata.kind,
        factor=factor,
    )


def sample_by_label(labels: NDArray[np.integer], fraction: float, random: np.random.Generator) -> IndexArray:
    """Positions of a random sample, rising: of each label the fraction of its jets, rounded to the nearest number."""
    parts = [
        random.choice(where, math.floor(fraction * len(where) + 0.5), replace=False)
        for where in (np.flatnonzero(labels == label) for label in np.unique(labels))
    ]
    return np.sort(np.concatenate(parts)).astype(np.int64) if parts else np.zeros(0, dtype=np.int64)


def _fractions(labels: NDArray[np.integer], taken: NDArray[np.integer]) -> dict[str, float]:
    """The share of the jets of each label that was taken; a label as text, as JSON wants it."""
    return (
        {
            str(int(label)): float(np.mean(taken == label) * len(taken) / np.sum(labels == label))
            for label in np.unique(labels)
        }
        if len(taken)
        else {}
    )


def _batches_with(file: JetFile, taken: IndexArray) -> Iterator[tuple[Jets, IndexArray]]:
    """The batches of a file, each with the positions in it that are taken."""
    start = 0
    for batch in file.batches():
        end = start + len(batch)
        yield batch, taken[np.searchsorted(taken, start) : np.searchsorted(taken, end)] - start
        start = end


def _metadata(
    settings: ResampleSettings, given: JetMetadata, source: Path, fractions: dict[str, float], factor: float
) -> JetMetadata:
    note = (
        f"a random {settings.fraction:g} of the jets of each label of {settings.input_file} (seed {settings.seed}); "
        "tables and normalisation are those of that file"
    )
    if factor != 1:
        note += f"; weights of simulated multijets were multiplied by {factor:.6g}"
    before = given.details.get(SAMPLED_FRACTION, {})
    together = {label: share * before.get(label, 1.0) for label, share in fractions.items()}
    whole = InputFile(path=settings.input_file, size_bytes=source.stat().st_size, sha256=sha256_of(source))
    return given.model_copy(
        update={
            "command": "cr_trainer resample",
            "options": {**given.options, "resample": settings.model_dump(mode="json")},
            "inputs": [whole],
            "notes": [*given.notes, note],
            "details": {**given.details, SAMPLED_FRACTION: together},
        }
    )
