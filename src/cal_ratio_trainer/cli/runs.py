"""Commands on runs, networks and the installation: all whose settings are in `config.runs`."""

import webbrowser

import click
from rich.console import Console

import cal_ratio_trainer as crt
from cal_ratio_trainer.cli.main import EXIT_FAILED_PARTS
from cal_ratio_trainer.cli.options import Argument, command
from cal_ratio_trainer.config.runs import (
    AnalyzeSettings,
    ConvertTrainingSettings,
    DoctorSettings,
    ImportSettings,
    ModelDumpSettings,
    RunsSettings,
    WatchSettings,
)

_WIDTH_OF_LAYERS, _WIDTH_OF_RUNS = 200, 10_000
"""Letters per line of a table if the output is no terminal."""


@command(
    "runs",
    RunsSettings,
    help="List all runs as a table: status, data, epochs, best figures, tag, note, commit. Any column "
    "of the CSV can be the one to sort by.",
)
def list_runs(settings: RunsSettings) -> int:
    """Prints the table of all runs, and the files of runs that cannot be read."""
    found = crt.list_runs(settings)
    for trouble in found.troubles():
        click.echo(f"warning: {trouble}", err=True)
    if settings.csv == "-":
        click.echo(found.csv(), nl=False)
    elif written := [str(file) for file in (settings.csv, settings.html) if file is not None]:
        click.echo(f"{len(found.runs)} runs in {' and '.join(written)}", err=True)
    elif not found.runs:
        click.echo(f"no such runs in {settings.output_path}", err=True)
    else:
        console = Console(highlight=False)
        table = found.as_rich(console.width if console.is_terminal else None)
        if not console.is_terminal:
            console.width = _WIDTH_OF_RUNS
        console.print(table)
    return EXIT_FAILED_PARTS if found.troubles() else 0


@command(
    "watch",
    WatchSettings,
    help="Open the page of a run, with its state, figures of merit and the figures of every epoch, and print its path. "
    "While the run trains, the open page is refreshed.",
    arguments=[Argument("run", many=False, metavar="NAME/RUN")],
)
def watch(settings: WatchSettings) -> None:
    """Opens the page of a run, or serves it until ^C."""
    from cal_ratio_trainer.reporting.watch import has_display

    watched = crt.watch(settings)
    click.echo(watched.address if settings.serve else watched.page)
    if settings.serve:
        click.echo("serving the page to this machine alone; Ctrl-C ends it", err=True)
        watched.wait()
    elif has_display():
        webbrowser.open(watched.address)


@command(
    "analyze",
    AnalyzeSettings,
    help="Compare runs NAME/RUN (if none is given, all finished ones): find their best epochs, recommend one, and "
    "write a report with AUC, K-S, rejections and efficiencies on the test jets.",
    arguments=(Argument("runs_to_analyze", metavar="[NAME/RUN]..."),),
)
def analyze(settings: AnalyzeSettings) -> int:
    """Analyzes runs, then prints the recommended epochs and the path of the page."""
    result = crt.analyze(settings)
    for name, why in result.failures:
        click.echo(f"warning: {name}: {why}", err=True)
    for name in result.recommended:
        click.echo(f"recommended: {name}")
    if not result.recommended:
        click.echo("no epoch can be recommended", err=True)
    if not settings.runs_to_analyze:
        click.echo(f"all finished runs in {settings.output_path}: {', '.join(result.runs)}", err=True)
    click.echo(f"report: {result.report} and {result.page}", err=True)
    return EXIT_FAILED_PARTS if result.failures or not result.recommended else 0


@command(
    "import",
    ImportSettings,
    help="Import a training of the earlier program as a run: PATH is its run folder, or a file of one network (Keras "
    "2 or 3, zip or HDF5, or frugally-deep JSON). The run can be scored, compared, analyzed, converted and continued.",
    arguments=(Argument("path", many=False, metavar="PATH"),),
)
def import_run(settings: ImportSettings) -> None:
    """Imports a training, then prints the content of the run and what is unknown."""
    summary = crt.import_run(settings)
    click.echo(summary.headline)
    for note in summary.notes:
        click.echo(f"  - {note}", err=True)
    click.echo(f"network and record: {summary.run.path}", err=True)


@command(
    "training",
    ConvertTrainingSettings,
    help="Write a trained network for other programs: frugally-deep JSON for DiVertAnalysis, Keras, ONNX.\n\n"
    "TRAINING is NAME/RUN/EPOCH, where best and last are epochs too, or a .keras or .safetensors file. A fold set "
    "needs --folds, which writes all its networks. An ensemble becomes one ONNX file that averages its members; "
    "--folds writes each of them. Each file is read back and must give the network's scores, or no file is kept. A "
    "card beside it describes the network and its inputs.",
    extra_names={"output_json": ("-o", "--output")},
    arguments=(Argument("training", many=False, metavar="TRAINING"),),
)
def export(settings: ConvertTrainingSettings) -> None:
    """Writes the network, then prints the files and their checks."""
    done = crt.export(settings)
    for note in done.notes:
        click.echo(f"{note}.", err=True)
    for path, file in zip(done.exported.paths, done.exported.files, strict=True):
        click.echo(
            f"{done.name} -> {path} ({file.format}, {file.size_bytes / 1000:.0f} kB); read back, its scores of "
            f"{file.jets_checked} jets are within {file.largest_difference:.1g} of the network's"
        )
    if done.exported.without_card:
        others = ", ".join(done.exported.without_card)
        click.echo(
            f"{done.exported.cards[0].name} was the card of {others} too; it describes this export only", err=True
        )
    click.echo(f"description and inputs: {done.exported.cards[1]} (and {done.exported.cards[0].name})")


@command(
    "model-dump",
    ModelDumpSettings,
    help="Show the layers of the network TRAINING (NAME/RUN, NAME/RUN/EPOCH, a .keras or a .safetensors file): shapes "
    "and parameters.",
    arguments=(Argument("training", many=False, metavar="TRAINING"),),
)
def describe_network(settings: ModelDumpSettings) -> None:
    """Prints the layers of a network."""
    table = crt.describe_network(settings).as_rich()
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = _WIDTH_OF_LAYERS
    console.print(table)


@command(
    "doctor",
    DoctorSettings,
    help="Check this installation: versions, devices, engines, memory, folders, and a training step that is compared "
    "with PyTorch's own operations. The exit status is 0 if all checks pass. Include the output in bug reports; "
    "it names no users or hosts, except in the paths of folders.",
    options=(click.Option(["as_json", "--json"], is_flag=True, help="Print the result as JSON, for programs."),),
)
def doctor(settings: DoctorSettings, as_json: bool) -> int:
    """Prints the examination of the installation; returns 1 if a check failed."""
    found = crt.doctor(settings)
    click.echo(found.as_json() if as_json else found.as_text())
    return 0 if found.is_well else EXIT_FAILED_PARTS
