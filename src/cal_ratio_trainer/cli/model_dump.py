"""`cr_trainer model-dump`."""

from rich.console import Console

from cal_ratio_trainer.cli.options import Argument, SettingsCommand
from cal_ratio_trainer.config.model_dump import ModelDumpSettings


def run(settings: ModelDumpSettings) -> int:
    """Show the layers of a network."""
    from cal_ratio_trainer.reporting.model_dump import model_table
    from cal_ratio_trainer.training.network_names import network_file

    Console(highlight=False).print(model_table(network_file(settings.training, settings.output_path)))
    return 0


command = SettingsCommand(
    name="model-dump",
    help="Show the layers of the network TRAINING (NAME/RUN, NAME/RUN/EPOCH or a .keras file): shapes and parameters.",
    settings=ModelDumpSettings,
    run=run,
    arguments=(Argument("training", many=False, metavar="TRAINING"),),
).build()
