"""`cr_trainer compare`."""

import click

import cal_ratio_trainer as crt
from cal_ratio_trainer.cli.options import Argument, SettingsCommand
from cal_ratio_trainer.config.scoring import CompareSettings


def run(settings: CompareSettings) -> int:
    """Compares, then says how far the two agree."""
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
    return 0


command = SettingsCommand(
    name="compare",
    help="Compare two networks on the same jets, or a network with scores in files.\n\n"
    "A and B are networks (NAME/RUN, NAME/RUN/EPOCH, a .keras or a .safetensors file), compared on the test samples of "
    "A's run or on FILES. With --column, A is compared with scores in the files, such as those that the C++ software "
    "wrote into an ntuple; if they differ, the program tries changes of the inputs to find the cause.",
    settings=CompareSettings,
    run=run,
    common=(
        *("column", "output_report", "all_jets", "sculpting", "output_path", "rule", "data_type", "kind", "llp_mH"),
        *("llp_mS", "device", "threads"),
    ),
    arguments=[Argument("input_files", metavar="A [B] [FILES...]", end_word=(0, "first"))],
).build()
