"""Images as PNG."""

import io
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from cal_ratio_trainer.plotting import DEMO, Drawing
from cal_ratio_trainer.plotting.png import embedded_png, image_size, png_bytes
from tests.reporting.some_reports import draw_line


@pytest.mark.parametrize("shape", [(1, 1), (3, 7), (600, 800)])
def test_an_image_comes_back_pixel_by_pixel(shape: tuple[int, int]) -> None:
    image = np.random.default_rng(2).integers(0, 256, (*shape, 4)).astype(np.uint8)
    with Image.open(io.BytesIO(png_bytes(image))) as read:
        # Reads the complete file, including checksums.
        assert (read.format, read.mode, read.size) == ("PNG", "RGB", shape[::-1])
        assert read.info["dpi"] == pytest.approx((100, 100), abs=0.01)
        assert np.array_equal(np.asarray(read), image[:, :, :3])


def test_the_same_image_gives_the_same_bytes() -> None:
    image = np.full((20, 30, 4), 255, dtype=np.uint8)
    assert png_bytes(image) == png_bytes(image.copy())
    assert len(png_bytes(image)) < 150


def pixels(data: bytes) -> NDArray[np.int64]:
    """Pixels [height, width, 3] of 0 to 255."""
    return np.round(matplotlib.image.imread(io.BytesIO(data), format="png")[:, :, :3] * 255).astype(np.int64)


def image(colours: NDArray[np.uint8], height: int, width: int, seed: int = 1) -> bytes:
    """An image of these colours at random places."""
    chosen = np.random.default_rng(seed).integers(0, len(colours), (height, width))
    opaque = np.full((height, width, 4), 255, dtype=np.uint8)
    opaque[:, :, :3] = colours[chosen]
    return png_bytes(opaque)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 32), st.integers(0, 100))
def test_shades_change_by_less_than_a_step(height: int, width: int, colours: int, seed: int) -> None:
    palette = np.random.default_rng(seed).integers(0, 256, (colours, 3)).astype(np.uint8)
    data = image(palette, height, width, seed)
    smaller = embedded_png(data)
    assert image_size(smaller) == image_size(data) == (width, height)
    assert np.abs(pixels(smaller) - pixels(data)).max() < 8


def test_an_image_of_few_clearly_different_colours_is_the_same() -> None:
    palette = np.array([[255, 255, 255], [0, 0, 0], [214, 39, 40], [0, 114, 178]], dtype=np.uint8)
    data = image(palette, 50, 70)
    np.testing.assert_array_equal(pixels(embedded_png(data)), pixels(data))


def test_with_more_than_256_colours_frequent_ones_stay() -> None:
    random = np.random.default_rng(1)
    noisy = np.full((100, 100, 4), 255, dtype=np.uint8)
    noisy[:10, :, :3] = random.integers(0, 256, (10, 100, 3))
    data = png_bytes(noisy)
    result = pixels(embedded_png(data))
    assert len(np.unique(result.reshape(-1, 3), axis=0)) <= 256
    assert (result[10:] == 255).all()


def test_a_figure_becomes_less_than_half_as_large(tmp_path: Path) -> None:
    (file,) = Drawing("figure", draw_line, (list(np.sin(np.linspace(0, 20, 500))),)).write(tmp_path, DEMO)
    assert len(embedded_png(file.read_bytes())) < len(file.read_bytes()) / 2


@pytest.mark.parametrize("data", [b"", b"\x89PNG\r\n\x1a\n", b"\x89PNG\r\n\x1a\nrest"])
def test_what_is_not_understood_is_given_back(data: bytes) -> None:
    assert embedded_png(data) == data


def test_a_png_of_another_kind_is_given_back() -> None:
    out = io.BytesIO()
    matplotlib.image.imsave(out, np.zeros((3, 3)), format="png")
    assert embedded_png(out.getvalue()) == out.getvalue()
