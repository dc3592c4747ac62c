import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import matplotlib
import pytest
from PIL import Image

from cal_ratio_trainer.plotting import ATLAS_INTERNAL, DEMO, FigureLabels
from cal_ratio_trainer.plotting.canvas import _canvas, drawing


def draw_line(path: Path, labels: FigureLabels = ATLAS_INTERNAL, height: float = 1.0) -> bytes:
    with drawing(path.with_suffix(""), labels) as axes:
        axes.plot([0, 1], [0, height], label="line", color="black")
        axes.legend()
    return path.read_bytes()


def draw_everything_else(path: Path) -> None:
    with drawing(path.with_suffix(""), DEMO) as axes:
        axes.errorbar([1, 10], [1, 2], yerr=[0.1, 0.2], label="points")
        axes.stairs([1, 2], [1, 2, 3], fill=True)
        axes.fill_between([1, 2], [1, 2])
        axes.text(0.5, 0.5, "text")
        axes.set(xscale="log", yscale="log", xlim=(1, 1000), ylim=(0.1, 10), xlabel="x", ylabel="y")
        axes.minorticks_off()
        axes.legend()


def draw_half(path: Path) -> None:
    with drawing(path.with_suffix(""), DEMO) as axes:
        axes.text(0.5, 0.5, "half done")
        raise RuntimeError("broken")


def test_headings_say_what_the_data_are() -> None:
    assert (ATLAS_INTERNAL.experiment, ATLAS_INTERNAL.qualifiers) == ("ATLAS", "Internal")
    assert ATLAS_INTERNAL.conditions == "√$s$ = 13 TeV, 139 fb$^{-1}$"
    assert FigureLabels("ATLAS", "Preliminary", 13.6, None, simulation=True).qualifiers == "Simulation Preliminary"
    assert FigureLabels("ATLAS", "", None, None, simulation=False).conditions == ""


def test_the_demo_is_called_a_simulation_and_has_no_luminosity() -> None:
    assert f"{DEMO.experiment} {DEMO.qualifiers}" == "demo simulation"
    assert "fb" not in DEMO.conditions
    with pytest.raises(ValueError, match="no luminosity"):
        FigureLabels("demo", "", 13, 139, simulation=True)
    with pytest.raises(ValueError, match="simulation"):
        FigureLabels("Demo", "", 13, None, simulation=False)


def test_a_figure_is_a_png_of_800_by_600_with_something_on_it(tmp_path: Path) -> None:
    draw_line(tmp_path / "deep" / "line.png")
    with Image.open(tmp_path / "deep" / "line.png") as image:
        assert (image.format, image.size) == ("PNG", (800, 600))
        assert image.convert("L").getextrema() == (0, 255)


def test_nothing_of_a_figure_is_left_on_the_next(tmp_path: Path) -> None:
    _canvas.cache_clear()
    first = draw_line(tmp_path / "line.png")
    draw_everything_else(tmp_path / "other.png")
    assert draw_line(tmp_path / "line.png") == first


def test_figures_differ_where_data_or_headings_differ(tmp_path: Path) -> None:
    first = draw_line(tmp_path / "a.png")
    assert draw_line(tmp_path / "b.png", labels=DEMO) != first
    assert draw_line(tmp_path / "c.png", height=0.5) != first


def test_threads_get_the_figures_they_would_get_alone(tmp_path: Path) -> None:
    heights = [0.2, 0.4, 0.6, 0.8]
    alone = [draw_line(tmp_path / f"{height}.png", height=height) for height in heights]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda height: draw_line(tmp_path / f"t{height}.png", height=height), heights))
    assert together == alone


def test_a_failure_leaves_the_old_file_and_does_not_spoil_the_next_figure(tmp_path: Path) -> None:
    before = draw_line(tmp_path / "line.png")
    with pytest.raises(RuntimeError, match="broken"):
        draw_half(tmp_path / "line.png")
    assert (tmp_path / "line.png").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["line.png"]
    assert draw_line(tmp_path / "line.png") == before


def test_the_users_matplotlib_settings_stay_as_they_are(tmp_path: Path) -> None:
    before = dict(matplotlib.rcParams)
    draw_line(tmp_path / "line.png")
    assert dict(matplotlib.rcParams) == before


def test_no_figure_means_no_matplotlib() -> None:
    code = (
        "import sys, cal_ratio_trainer.plotting.scores, cal_ratio_trainer.plotting.histories; "
        "sys.exit('matplotlib' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
