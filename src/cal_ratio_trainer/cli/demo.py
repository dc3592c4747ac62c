"""`cr_trainer demo`."""

from collections import Counter

import cal_ratio_trainer as crt
from cal_ratio_trainer.cli.options import SettingsCommand
from cal_ratio_trainer.config.convert import DemoSettings


def run(settings: DemoSettings) -> int:
    """Simulates, then says what was made, where it is and what to do with it."""
    summary = crt.demo(settings)
    for role in ("main", "control"):
        jets = Counter[str]()
        for file in summary.files:
            if file.role == role:
                jets[file.data_type.value] += file.jets
        print(f"{role} jets: " + ", ".join(f"{count} {kind}" for kind, count in jets.items()))
    events = sum(file.events for file in summary.files)
    print(f"{len(summary.files)} ntuples with {events} events in {summary.output_path}")
    print("A parametric model tuned on some hundred real jets, not a detector simulation: no physics conclusions.")
    print(f"Next:\n  cd {summary.output_path}\n  cr_trainer convert divertanalysis --config convert.yaml")
    print("  cr_trainer build --config build_main.yaml\n  cr_trainer build --config build_control.yaml")
    return 0


command = SettingsCommand(
    name="demo",
    help="Simulate DiVertAnalysis ntuples: signal on a grid of masses, multijet MC in slices of pt, beam-induced "
    "background and a control region of simulation and data. The model is parametric and tuned on real jets; it is no "
    "detector simulation. Settings files beside the ntuples convert and build them.",
    settings=DemoSettings,
    run=run,
).build()
