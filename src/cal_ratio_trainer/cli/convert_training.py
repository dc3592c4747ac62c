"""`cr_trainer convert training`."""

import click

import cal_ratio_trainer as crt
from cal_ratio_trainer.cli.options import Argument, SettingsCommand
from cal_ratio_trainer.config.loading import Layers
from cal_ratio_trainer.config.runs import ConvertTrainingSettings


def format_of_output(layers: Layers) -> Layers:
    """Takes the format from the ending of the output file where no source of settings gives one."""
    if not any("format" in content for _, content in layers[1:]):
        layers[0][1].pop("format", None)
    return layers


def run(settings: ConvertTrainingSettings) -> int:
    """Writes the network, then says what was written and how it was checked."""
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
    return 0


command = SettingsCommand(
    name="training",
    help="Write a trained network for other programs: frugally-deep JSON for DiVertAnalysis, Keras, ONNX.\n\n"
    "TRAINING is NAME/RUN/EPOCH, where best and last are epochs too, or a .keras or .safetensors file. A fold set "
    "needs --folds, which writes all its networks. An ensemble becomes one ONNX file that averages its members; "
    "--folds writes each of them. Each file is read back and must give the network's scores, or no file is kept. A "
    "card beside it describes the network and its inputs.",
    settings=ConvertTrainingSettings,
    run=run,
    extra_names={"output_json": ("-o", "--output")},
    adjust=format_of_output,
    arguments=(Argument("training", many=False, metavar="TRAINING"),),
).build()
