"""Elements that dropout sets to zero."""

import numpy as np
import pytest
import torch

from cal_ratio_trainer.network.dropout import DropoutSource, MaskRows, random_halves, scale_of
from cal_ratio_trainer.network.layers import dropped

CPU = torch.device("cpu")


def test_the_share_asked_for_is_dropped() -> None:
    keep = DropoutSource(0.2, (1, 2), CPU).keep(torch.Size([1000, 1001]))
    assert keep.float().mean().item() == pytest.approx(0.8, abs=0.002)


def test_elements_are_dropped_independently_of_their_neighbours() -> None:
    keep = DropoutSource(0.5, (3,), CPU).keep(torch.Size([1_000_000])).numpy().astype(float) - 0.5
    for distance in (1, 2, 3, 4, 8, 64):
        assert abs(np.mean(keep[distance:] * keep[:-distance])) < 0.001


def test_the_same_seed_gives_the_same_masks_and_another_step_others() -> None:
    shape = torch.Size([100, 7])
    first, same, other = (DropoutSource(0.2, (1, 2, step), CPU).keep(shape) for step in (3, 3, 4))
    assert torch.equal(first, same)
    assert not torch.equal(first, other)


def test_every_layer_of_a_step_has_a_mask_of_its_own() -> None:
    source = DropoutSource(0.2, (1, 2), CPU)
    keys = {source.key() for _ in range(50)}
    assert len(keys) == 50
    assert keys == {key for source in [DropoutSource(0.2, (1, 2), CPU)] for key in [source.key() for _ in range(50)]}


def test_in_inference_there_is_no_dropout_and_no_factor() -> None:
    x = torch.randn(10)
    assert dropped(x, None) is x
    assert scale_of(None) == 1.0


def test_the_factor_left_to_the_next_layer_keeps_the_mean() -> None:
    source = DropoutSource(0.2, (5,), CPU)
    assert (dropped(torch.ones(200_000), source).mean() * scale_of(source)).item() == pytest.approx(1.0, abs=0.01)


def test_the_numbers_drawn_on_a_gpu_are_uniform_over_all_16_bits() -> None:
    drawn = random_halves(400_001, torch.Generator().manual_seed(1))
    assert drawn.dtype == torch.int16
    assert len(drawn) == 400_001
    counts = torch.histc(drawn.float(), bins=16, min=-32768, max=32768)
    assert ((counts / 25_000 - 1).abs() < 0.03).all()
    assert (drawn[0::2].float().mean() - drawn[1::2].float().mean()).abs() < 200


def test_a_share_of_the_rows_has_its_rows_of_the_whole_mask() -> None:
    whole = DropoutSource(0.2, (1, 2), CPU).keep(torch.Size([100, 7]))
    rows = torch.tensor([3, 50, 99])
    share = DropoutSource(0.2, (1, 2), CPU).keep(torch.Size([3, 7]), MaskRows(rows, 100))
    assert torch.equal(share, whole[rows])
