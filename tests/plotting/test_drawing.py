"""Axes of figures, and the files of figures."""

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from matplotlib.axes import Axes
from PIL import Image

from cal_ratio_trainer.plotting import ATLAS_INTERNAL, DEMO, Drawing, FigureLabels
from cal_ratio_trainer.plotting.drawing import _canvas


def line(axes: Axes, height: float) -> None:
    axes.plot([0, 1], [0, height], label="line", color="black")
    axes.legend()


def everything_else(axes: Axes) -> None:
    axes.errorbar([1, 10], [1, 2], yerr=[0.1, 0.2], label="points")
    axes.stairs([1, 2], [1, 2, 3], fill=True)
    axes.fill_between([1, 2], [1, 2])
    axes.imshow([[0, 1], [1, 0]], aspect="auto")
    axes.text(0.5, 0.5, "text")
    axes.set(xscale="log", yscale="log", xlim=(1, 1000), ylim=(0.1, 10), xlabel="x", ylabel="y")
    axes.minorticks_off()
    axes.legend()


def half(axes: Axes) -> None:
    axes.text(0.5, 0.5, "half done")
    raise RuntimeError("broken")


def drawn(folder: Path, height: float = 1.0, labels: FigureLabels = ATLAS_INTERNAL) -> bytes:
    """The PNG file of a line."""
    return Drawing("line", line, (height,)).write(folder, labels)[0].read_bytes()


def test_a_figure_is_a_png_of_800_by_600_with_something_on_it(tmp_path: Path) -> None:
    drawn(tmp_path / "deep")
    with Image.open(tmp_path / "deep" / "line.png") as image:
        assert (image.format, image.size) == ("PNG", (800, 600))
        assert image.convert("L").getextrema() == (0, 255)


def test_the_palette_of_the_file_shows_the_figure_as_it_was_drawn(tmp_path: Path) -> None:
    drawn(tmp_path)
    with Image.open(tmp_path / "line.png") as image:
        assert image.mode == "P"
        written = np.asarray(image.convert("RGB"), dtype=float)
    assert np.abs(written - np.asarray(_canvas(False).buffer_rgba())[..., :3]).max() <= 8


def test_nothing_of_a_figure_is_left_on_the_next(tmp_path: Path) -> None:
    _canvas.cache_clear()
    first = drawn(tmp_path)
    Drawing("other", everything_else, ()).write(tmp_path, DEMO)
    assert drawn(tmp_path) == first


def test_negative_numbers_at_ticks_have_a_minus_sign() -> None:
    (axes,) = Drawing("negative", lambda axes: axes.set_xlim(-3, 3), ()).figure(DEMO).axes
    labels = [label.get_text() for label in axes.get_xticklabels()]
    assert any(label.startswith("−") for label in labels)
    assert not any(label.startswith("-") for label in labels)


def test_figures_differ_where_data_or_headings_differ(tmp_path: Path) -> None:
    assert len({drawn(tmp_path), drawn(tmp_path, labels=DEMO), drawn(tmp_path, height=0.5)}) == 3


def test_threads_get_the_figures_they_would_get_alone(tmp_path: Path) -> None:
    heights = [0.2, 0.4, 0.6, 0.8]
    alone = [drawn(tmp_path, height) for height in heights]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda height: drawn(tmp_path / f"{height}", height), heights))
    assert together == alone


def test_a_failure_leaves_the_old_file_and_does_not_spoil_the_next_figure(tmp_path: Path) -> None:
    before = drawn(tmp_path)
    with pytest.raises(RuntimeError, match="broken"):
        Drawing("line", half, ()).write(tmp_path, DEMO)
    assert (tmp_path / "line.png").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["line.png"]
    assert drawn(tmp_path) == before


def test_the_users_matplotlib_settings_stay_as_they_are(tmp_path: Path) -> None:
    before = dict(matplotlib.rcParams)
    drawn(tmp_path)
    assert dict(matplotlib.rcParams) == before


def test_a_pdf_has_neither_date_nor_version_inside(tmp_path: Path) -> None:
    labels = replace(ATLAS_INTERNAL, plot_format="both")
    png, pdf = Drawing("line", line, (1.0,)).write(tmp_path, labels)
    assert png.read_bytes() == drawn(tmp_path)
    before = pdf.read_bytes()
    Drawing("line", line, (1.0,)).write(tmp_path, labels)
    assert pdf.read_bytes() == before


def test_a_second_panel_shares_the_x_axis() -> None:
    figure = Drawing("ratio", lambda main, ratio: main.set_xlim(0, 3), (), with_ratio=True).figure(DEMO)
    assert figure.axes[1].get_xlim() == (0, 3)


def test_a_figure_does_not_wait_for_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(descriptor: int) -> None:
        raise AssertionError("waited for the disk")

    monkeypatch.setattr(os, "fsync", refuse)
    assert drawn(tmp_path)
