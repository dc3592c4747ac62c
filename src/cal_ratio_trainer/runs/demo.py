"""The demo data for a training, for an analysis of its runs, or for figures of jets."""

from pathlib import Path

from cal_ratio_trainer.files.cache import DemoFiles


def make_demo(cache_path: Path | None) -> DemoFiles:
    """The demo's training files; see `demo_training_files`.

    Simulation and conversion bring uproot and awkward along, so they are imported only when the demo is asked for.
    """
    from cal_ratio_trainer.simulation.demo_data import demo_training_files

    return demo_training_files(cache_path)
