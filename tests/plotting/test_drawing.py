"""Axes of figures, and the files of figures."""

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from PIL import Image

from cal_ratio_trainer.plotting import ATLAS_INTERNAL, DEMO, FigureLabels
from cal_ratio_trainer.plotting.drawing import _canvas, _frames, drawing, drawing_with_ratio


def draw_line(path: Path, labels: FigureLabels = ATLAS_INTERNAL, height: float = 1.0) -> bytes:
    """Line on axes that are not shared."""
    with drawing(path.with_suffix(""), labels) as axes:
        axes.plot([0, 1], [0, height], label="line", color="black")
        axes.legend()
    return path.read_bytes()


def draw_everything_else(path: Path) -> None:
    with drawing(path.with_suffix(""), DEMO) as axes:
        axes.errorbar([1, 10], [1, 2], yerr=[0.1, 0.2], label="points")
        axes.stairs([1, 2], [1, 2, 3], fill=True)
        axes.fill_between([1, 2], [1, 2])
        axes.imshow([[0, 1], [1, 0]], aspect="auto")
        axes.text(0.5, 0.5, "text")
        axes.set(xscale="log", yscale="log", xlim=(1, 1000), ylim=(0.1, 10), xlabel="x", ylabel="y")
        axes.minorticks_off()
        axes.legend()


def draw_half(path: Path) -> None:
    with drawing(path.with_suffix(""), DEMO) as axes:
        axes.text(0.5, 0.5, "half done")
        raise RuntimeError("broken")


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


def test_negative_numbers_at_ticks_have_a_minus_sign(tmp_path: Path) -> None:
    with drawing(tmp_path / "negative", DEMO) as axes:
        axes.set_xlim(-3, 3)
        labels = [label.get_text() for label in axes.get_xticklabels()]
    assert any(label.startswith("−") for label in labels)
    assert not any(label.startswith("-") for label in labels)


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


def draw_shared(path: Path, labels: FigureLabels, height: float, top: float = 1.0, title: str = "") -> bytes:
    """Line on axes shared by figures with the same limits and titles."""
    with drawing(path.with_suffix(""), labels, default_ticks=True) as axes:
        axes.plot([0, 1], [0, height], color="black")
        axes.set(ylim=(0, top), xlabel=title)
    return path.read_bytes()


def test_a_shared_frame_is_drawn_once_and_only_for_what_is_the_same(tmp_path: Path) -> None:
    _frames.clear()
    first = draw_shared(tmp_path / "a.png", DEMO, 0.5)
    assert draw_shared(tmp_path / "b.png", DEMO, 0.7) != first
    assert len(_frames) == 1
    others = [
        draw_shared(tmp_path / "c.png", ATLAS_INTERNAL, 0.5),
        draw_shared(tmp_path / "d.png", DEMO, 0.5, top=2),
        draw_shared(tmp_path / "e.png", DEMO, 0.5, title="x"),
    ]
    assert len(_frames) == 4
    assert len({first, *others}) == 4
    assert draw_shared(tmp_path / "f.png", DEMO, 0.5) == first


def test_a_shared_frame_gives_the_same_figure_but_for_ticks_above_the_data(tmp_path: Path) -> None:
    draw_shared(tmp_path / "shared.png", DEMO, 0.5)
    with drawing(tmp_path / "alone", DEMO) as axes:
        axes.plot([0, 1], [0, 0.5], color="black")
        axes.set(ylim=(0, 1))
    first, second = (np.asarray(Image.open(tmp_path / f"{name}.png"), dtype=float) for name in ("shared", "alone"))
    assert np.mean(np.abs(first - second) > 8) < 0.001


def test_both_formats_are_written_with_frame_and_heading(tmp_path: Path) -> None:
    labels = replace(DEMO, plot_format="both")
    draw_shared(tmp_path / "figure.png", labels, 0.5)
    alone = draw_shared(tmp_path / "alone.png", DEMO, 0.5)
    assert (tmp_path / "figure.png").read_bytes() == alone
    with_pdf = (tmp_path / "figure.pdf").read_bytes()
    draw_shared(tmp_path / "again.png", labels, 0.5)
    assert (tmp_path / "again.pdf").read_bytes() == with_pdf


def test_a_second_panel_shares_the_x_axis(tmp_path: Path) -> None:
    with drawing_with_ratio(tmp_path / "ratio", DEMO) as (main, ratio):
        main.plot([0, 3], [0, 1])
        main.set_xlim(0, 3)
        assert ratio.get_xlim() == (0, 3)
    assert (tmp_path / "ratio.png").read_bytes().startswith(b"\x89PNG")


def test_a_figure_does_not_wait_for_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(descriptor: int) -> None:
        raise AssertionError("waited for the disk")

    monkeypatch.setattr(os, "fsync", refuse)
    assert draw_line(tmp_path / "line.png")
