"""`cr_trainer model-dump`."""

from rich.console import Console

import cal_ratio_trainer as crt
from cal_ratio_trainer.cli.options import Argument, SettingsCommand
from cal_ratio_trainer.config.runs import ModelDumpSettings

_WIDTH_WITHOUT_TERMINAL = 200


def run(settings: ModelDumpSettings) -> int:
    """Prints the layers of a network."""
    table = crt.describe_network(settings).as_rich()
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = _WIDTH_WITHOUT_TERMINAL
    console.print(table)
    return 0


command = SettingsCommand(
    name="model-dump",
    help="Show the layers of the network TRAINING (NAME/RUN, NAME/RUN/EPOCH, a .keras or a .safetensors file): shapes "
    "and parameters.",
    settings=ModelDumpSettings,
    run=run,
    arguments=(Argument("training", many=False, metavar="TRAINING"),),
).build()
