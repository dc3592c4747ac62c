"""`cr_trainer score` and `cr_trainer compare`."""

from typing import TYPE_CHECKING

import click

import cal_ratio_trainer as crt
from cal_ratio_trainer.cli.main import EXIT_FAILED_PARTS
from cal_ratio_trainer.cli.options import Argument, command
from cal_ratio_trainer.config.scoring import CompareSettings, ScoreSettings

if TYPE_CHECKING:
    from cal_ratio_trainer.scoring.score import ScoredFile


@command(
    "score",
    ScoreSettings,
    help="Score jets with a trained network.\n\n"
    "The last word is the network: NAME/RUN/EPOCH ('best' and 'last' are epochs too) or a .keras or .safetensors "
    "file. All other words are files of jets or DiVertAnalysis ntuples: paths, patterns or URLs. Scores go to "
    "<name of the file>.parquet beside the report, one row per jet.",
    common=(
        *("cuts", "output_report", "output_path", "rule", "data_type", "kind", "llp_mH", "llp_mS", "blind_above"),
        *("device", "threads", "workers"),
    ),
    arguments=[Argument("input_files", metavar="FILES... NETWORK", end_word=(-1, "training"))],
)
def score(settings: ScoreSettings) -> int:
    """Scores, then prints the outcome of each file; returns 1 if any failed."""
    result = crt.score(settings)
    for note in (*result.summary.notes, *result.summary.notes_of_files()):
        click.echo(note, err=True)
    for file in result.summary.files:
        _say(file)
    if result.has_scores:
        click.echo(f"report: {result.report} and {result.page}")
    return EXIT_FAILED_PARTS if result.summary.failed else 0


def _say(file: "ScoredFile") -> None:
    if file.tally is None:
        click.echo(f"{file.file}: failed: {file.reason}", err=True)
        return
    parts = ", ".join(f"{count:,} {part}" for part, count in file.tally.jets_by_part().items()) or "none"
    rate = f", {file.jets / file.seconds:,.0f} jets/s" if file.seconds > 0 else ""
    click.echo(f"{file.file}: {file.jets:,} jets ({parts}) in {file.seconds:.1f} s{rate}: {file.output}")


@command(
    "compare",
    CompareSettings,
    help="Compare two networks on the same jets, or a network with scores in files.\n\n"
    "A and B are networks (NAME/RUN, NAME/RUN/EPOCH, a .keras or a .safetensors file), compared on the test samples of "
    "A's run or on FILES. With --column, A is compared with scores in the files, such as those that the C++ software "
    "wrote into an ntuple; if they differ, the program tries changes of the inputs to find the cause.",
    common=(
        *("column", "output_report", "all_jets", "sculpting", "output_path", "rule", "data_type", "kind", "llp_mH"),
        *("llp_mS", "device", "threads"),
    ),
    arguments=[Argument("input_files", metavar="A [B] [FILES...]", end_word=(0, "first"))],
)
def compare(settings: CompareSettings) -> None:
    """Compares, then prints the agreement."""
    result = crt.compare(settings)
    for note in result.summary.notes:
        click.echo(note, err=True)
    for region, sample in result.summary.samples.items():
        agreement = sample.agreement
        click.echo(
            f"{len(sample.jets):,} {region} jets: largest output the same for {100 * agreement.same_decision:.2f} %, "
            f"differences up to {agreement.largest:.2g}, median {agreement.median:.2g}"
        )
    if result.summary.explanation is not None:
        for sentence in result.summary.explanation.sentences():
            click.echo(sentence)
    click.echo(f"report: {result.report} and {result.page}; scores of both: {result.summary.scores}")
