"""Draws the pictures of the pages anew: `python -m docs.figures`, on the demo, in some minutes.

The pictures of the README and of the pages come from here and from nowhere else, except the drawings in SVG. A change
of a figure's looks therefore needs one command. Names that are given on the command line limit it to those pictures.
"""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import matplotlib
import mplhep
from PIL import Image

import cal_ratio_trainer as crt
from benchmarks.learning import front_figure
from cal_ratio_trainer.config.plot import PlotSettings
from cal_ratio_trainer.plotting.pool import draw_in_parallel
from cal_ratio_trainer.reporting.jet_file_report import compare_files

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from cal_ratio_trainer.runs.run import Run
    from cal_ratio_trainer.simulation.simulation import DemoSummary

IMAGES = Path(__file__).resolve().parent / "images"
DOTS_PER_INCH = 100
JETS, EPOCHS, MINI_BATCHES = 5000, 12, 60
RUNS = {"none": {"agreement": "none"}, "best": {"profile": "best"}, "manual": {"profile": "manual"}}
"""Names of the trained models, with the settings in which they differ."""


class Demo:
    """Demo data and three trainings on them, made when they are first asked for."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._runs: dict[str, Run] = {}

    @cached_property
    def demo(self) -> "DemoSummary":
        """Simulated and converted ntuples."""
        made = crt.demo(output_path=self.folder / "ntuples", jets=JETS, seed=1)
        crt.convert(made.convert_settings())
        return made

    @cached_property
    def main(self) -> Path:
        """The main training file."""
        return crt.build(self.demo.build_settings("main")).output_file

    @cached_property
    def control(self) -> Path:
        """The control-region file."""
        return crt.build(self.demo.build_settings("control")).output_file

    def run(self, name: str) -> "Run":
        """The training of this name in `RUNS`."""
        if name not in self._runs:
            run = crt.train(
                progress=False,
                model_name=name,
                main_training_file=str(self.main),
                cr_training_file=str(self.control),
                output_path=self.folder / "runs",
                epochs=EPOCHS,
                num_splits=MINI_BATCHES,
                sample_fraction=1.0,
                train_fraction=0.7,
                epoch_plots=False,
                **RUNS[name],
            )
            self._runs[name] = crt.open_run(run.name, self.folder / "runs")
        return self._runs[name]

    def report(self, name: str) -> Path:
        """File of a report of this name."""
        return self.folder / "reports" / name / "report.md"


def auc_ks(demo: Demo) -> Image.Image:
    """AUC against K-S sum of all epochs."""
    runs, report = [demo.run(name).name for name in RUNS], demo.report("auc_ks")
    return drawn(
        crt.analyze(runs_to_analyze=runs, output_path=demo.folder / "runs", output_report=report).figure("auc_ks")
    )


def compare(demo: Demo) -> Image.Image:
    """Four figures of the comparison of two networks."""
    first, second = (f"{demo.run(name).name}/best" for name in ("best", "none"))
    report = demo.report("compare")
    compared = crt.compare(first=first, second=second, output_path=demo.folder / "runs", output_report=report)
    names = ("ks", "roc_qcd_0_1_bib", "main_correlation_sig", "main_differences")
    upper_left, upper_right, left, right = (drawn(compared.figure(name)) for name in names)
    return scaled(joined([joined([upper_left, upper_right]), joined([left, right])], below=True), 1200)


def front(demo: Demo) -> Image.Image:
    """Rejection and agreement of each method in several strengths, as benchmarks.learning measured them."""
    return drawn(front_figure(json.loads((IMAGES.parent / "front.json").read_text("utf-8"))))


def ks_bib(demo: Demo) -> Image.Image:
    """K-S of the BIB output by epoch."""
    return drawn(demo.run("best").figure("ks_bib"))


def plot_clus_time_0(demo: Demo) -> Image.Image:
    """Time of the leading cluster by class."""
    settings = PlotSettings.make(input_files=[str(demo.main)], output_report=demo.report("plot"))
    return drawn(compare_files(settings, draw_in_parallel).figure("file1_labels_clus_time_0"))


def roc_curve_qcd_and_bib(demo: Demo) -> Image.Image:
    """Rejection of both backgrounds against signal efficiency."""
    return drawn(demo.run("best").figure("roc_curve_qcd_and_bib"))


def run_page(demo: Demo) -> Image.Image:
    """Upper part of the page of a run, as a browser shows it."""
    page = crt.watch(run=demo.run("best").name, output_path=demo.folder / "runs").page
    return screenshot(page, demo.folder, 1280, 1240)


def score_report(demo: Demo) -> Image.Image:
    """Upper part of the page of `score`, as a browser shows it."""
    training = f"{demo.run('best').name}/best"
    report = demo.report("score_report")
    page = crt.score(
        input_files=[str(demo.main)], training=training, output_path=demo.folder / "runs", output_report=report
    ).page
    return screenshot(page, demo.folder, 1080, 910)


def sculpting(demo: Demo) -> Image.Image:
    """Mistag and signal efficiency against the mass of the clusters and pt, without and with agreement."""
    first, second = (f"{demo.run(name).name}/best" for name in ("none", "best"))
    report, runs = demo.report("sculpting"), demo.folder / "runs"
    compared = crt.compare(first=first, second=second, output_path=runs, output_report=report, sculpting=True)
    names = ("sculpting_cluster_mass_90", "sculpting_pt_90")
    return scaled(joined([drawn(compared.figure(name)) for name in names]), 1200)


def sig_predictions(demo: Demo) -> Image.Image:
    """Signal output by class, in the last epoch."""
    return drawn(demo.run("best").figure("sig_predictions"))


def slices(demo: Demo) -> Image.Image:
    """Slices of simulated multijets before and after they are weighed."""
    file, samples = demo.folder / "slices" / "slices.parquet", demo.folder / "ntuples" / "samples.yaml"
    file.parent.mkdir()
    settings = demo.demo.build_settings(
        "main", output_file=file, normalise="samples", samples=str(samples), report=True
    )
    crt.build(settings)
    pictures = [next(file.parent.rglob(f"samples_{when}_jet_pt.png")) for when in ("before", "after")]
    return scaled(joined([Image.open(picture).convert("RGB") for picture in pictures]), 1200)


PICTURES: Sequence[Callable[[Demo], Image.Image]] = (
    auc_ks,
    compare,
    front,
    ks_bib,
    plot_clus_time_0,
    roc_curve_qcd_and_bib,
    run_page,
    score_report,
    sculpting,
    sig_predictions,
    slices,
)
"""Each draws the picture of its name."""


def drawn(figure: "Figure") -> Image.Image:
    """Picture of a figure, in the size of the pages."""
    # The fonts of a figure and its minus signs are looked up when it is written.
    with TemporaryDirectory() as folder, matplotlib.rc_context({**mplhep.style.ATLAS, "axes.unicode_minus": True}):
        figure.savefig(Path(folder) / "figure.png", dpi=DOTS_PER_INCH)
        return Image.open(Path(folder) / "figure.png").convert("RGB")


def screenshot(page: Path, folder: Path, width: int, height: int) -> Image.Image:
    """Upper left part of a page, as a browser shows it; `folder` takes the picture for a moment."""
    browser = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if browser is None:
        raise SystemExit("no Chromium to show pages with")
    target = folder / "page.png"
    options = ["--headless", "--no-sandbox", "--hide-scrollbars", f"--window-size={width},{height}"]
    words = [browser, *options, f"--screenshot={target}", page.resolve().as_uri()]
    subprocess.run(words, check=True, capture_output=True)
    return Image.open(target).convert("RGB")


def joined(pictures: Sequence[Image.Image], below: bool = False) -> Image.Image:
    """Pictures side by side, or one below the other."""
    widths, heights = [each.width for each in pictures], [each.height for each in pictures]
    size = (max(widths), sum(heights)) if below else (sum(widths), max(heights))
    whole, place = Image.new("RGB", size, "white"), 0
    for each in pictures:
        whole.paste(each, (0, place) if below else (place, 0))
        place += each.height if below else each.width
    return whole


def scaled(picture: Image.Image, width: int) -> Image.Image:
    """A picture in another width."""
    return picture.resize((width, round(picture.height * width / picture.width)), Image.Resampling.LANCZOS)


def main(names: Sequence[str]) -> None:
    """Draws the pictures of these names, or all."""
    known = {each.__name__: each for each in PICTURES}
    unknown = set(names) - known.keys()
    if unknown:
        raise SystemExit(f"no pictures: {', '.join(sorted(unknown))}; there are {', '.join(known)}")
    with TemporaryDirectory() as folder:
        demo = Demo(Path(folder))
        for name in names or known:
            known[name](demo).save(IMAGES / f"{name}.png", optimize=True)
            print(IMAGES / f"{name}.png", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
