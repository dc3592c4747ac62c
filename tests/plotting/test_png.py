"""Images as PNG."""

import io

import numpy as np
import pytest
from PIL import Image

from cal_ratio_trainer.plotting.png import png_bytes


@pytest.mark.parametrize("shape", [(1, 1), (3, 7), (600, 800)])
def test_an_image_comes_back_pixel_by_pixel(shape: tuple[int, int]) -> None:
    image = np.random.default_rng(2).integers(0, 256, (*shape, 4)).astype(np.uint8)
    with Image.open(io.BytesIO(png_bytes(image))) as read:
        # Reads all of it, checksums included.
        assert (read.format, read.mode, read.size) == ("PNG", "RGB", shape[::-1])
        assert read.info["dpi"] == pytest.approx((100, 100), abs=0.01)
        assert np.array_equal(np.asarray(read), image[:, :, :3])


def test_the_same_image_gives_the_same_bytes() -> None:
    image = np.full((20, 30, 4), 255, dtype=np.uint8)
    assert png_bytes(image) == png_bytes(image.copy())
    assert len(png_bytes(image)) < 150
