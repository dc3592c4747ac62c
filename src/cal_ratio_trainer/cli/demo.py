"""`cr_trainer demo`."""

from cal_ratio_trainer.cli.options import SettingsCommand
from cal_ratio_trainer.config.demo import DemoSettings


def run(settings: DemoSettings) -> int:
    """Simulate, then say where the files are."""
    print(settings)
    return 0


command = SettingsCommand(
    name="demo",
    help="Simulate DiVertAnalysis ntuples: signal on a grid of masses, multijet MC, beam-induced background and a "
    "control region. A parametric model tuned on real jets, not a detector simulation.",
    settings=DemoSettings,
    run=run,
).build()
