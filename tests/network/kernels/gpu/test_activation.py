"""ReLU, dropout and their gradients in Triton, in its interpreter or on a GPU, are equal to the CPU engine's."""

import dataclasses
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from cal_ratio_trainer.network.dropout import DropoutKey, DropoutSource, MaskRows
from cal_ratio_trainer.network.engine import Engine
from cal_ratio_trainer.network.layers import Activation, dropped
from tests.network.activated import activated
from tests.network.exact_chains import integers
from tests.network.triton_interpreter import DEVICE

SHAPES = [(1, 1), (3, 7), (1100, 16), (700, 33), (40, 512)]
KEYS = [None, DropoutKey((17, 4)), DropoutKey((2**32 - 1, 2**31 + 5))]


def activation(engine: Engine, key: DropoutKey | None, last_is_empty_slot: bool) -> Activation:
    # A quarter: 3/4 of a whole number is exact, so are sums of them.
    return Activation(0.25, key, last_is_empty_slot, engine)


@pytest.mark.parametrize("last_is_empty_slot", [False, True])
@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize(("rows", "units"), SHAPES)
def test_values_masks_and_gradients_are_those_of_the_cpu_engine(
    rows: int, units: int, key: DropoutKey | None, last_is_empty_slot: bool
) -> None:
    generator = torch.Generator().manual_seed(rows)
    # Integers: products are exact, so the same elements are positive.
    x, kernel, bias = (
        torch.randint(-4, 5, shape, generator=generator).float() for shape in ((rows, 5), (5, units), (units,))
    )
    gradient = torch.randint(-9, 10, (rows, units), generator=generator).float()
    ours, theirs = (activation(engine, key, last_is_empty_slot) for engine in (Engine.TRITON, Engine.NUMBA))
    found = ours(x.to(DEVICE), kernel.to(DEVICE), bias.to(DEVICE))
    expected = activated(theirs, x, kernel, bias)
    assert torch.equal(found.cpu() > 0, expected > 0)
    torch.testing.assert_close(found.cpu(), expected, rtol=3e-7, atol=0)
    ours_gradient = gradient.clone().to(DEVICE)
    sums = ours.gradient_(ours_gradient, found)
    expected = torch.where(found.cpu() > 0, gradient, 0.0)
    expected[rows - last_is_empty_slot :] *= 1 / ours.scale
    assert torch.equal(ours_gradient.cpu(), expected)
    assert torch.equal(sums.cpu(), expected.sum(dim=0))


def test_values_of_either_sign_are_dropped_with_their_gradient() -> None:
    x = torch.randn(2000, 11, generator=torch.Generator().manual_seed(1)).to(DEVICE).requires_grad_()
    found = dropped(x, DropoutSource(0.3, (1,), DEVICE), Engine.TRITON)
    kept = found != 0
    assert kept.float().mean().item() == pytest.approx(0.7, abs=0.02)
    assert torch.equal(found, torch.where(kept, x, 0.0))
    found.sum().backward()  # type: ignore[no-untyped-call]
    assert x.grad is not None
    assert torch.equal(x.grad, kept.float())
    again = dropped(x, DropoutSource(0.3, (1,), DEVICE), Engine.TRITON)
    other = dropped(x, DropoutSource(0.3, (2,), DEVICE), Engine.TRITON)
    assert torch.equal(again, found)
    assert not torch.equal(other, found)


def test_not_a_number_is_not_hidden() -> None:
    x, kernel, bias = torch.full((3, 1), torch.nan), torch.ones(1, 4), torch.zeros(4)
    inputs = (tensor.to(DEVICE) for tensor in (x, kernel, bias))
    assert activation(Engine.TRITON, DropoutKey((1, 2)), False)(*inputs).isnan().all()


def test_a_share_of_the_rows_has_its_rows_of_the_whole_mask() -> None:
    # Without zeros, which would look dropped.
    x = integers(4, 1100, 11).to(DEVICE) + 0.5
    chosen = torch.arange(0, 1099, 3, device=DEVICE)
    rows = torch.cat([chosen, torch.tensor([1099], device=DEVICE)])
    mask_rows = MaskRows(chosen, 1099)
    whole = activation(Engine.TRITON, DropoutKey((1, 2)), last_is_empty_slot=True)
    share = dataclasses.replace(whole, mask_rows=mask_rows)
    kernel, bias = torch.ones(11, 5, device=DEVICE), torch.ones(5, device=DEVICE)
    assert torch.equal(share(x[rows], kernel, bias), whole(x, kernel, bias)[rows])

    all_dropped = dropped(x[:1099], DropoutSource(0.3, (1,), DEVICE), Engine.TRITON)
    own = x[chosen].requires_grad_()
    found = dropped(own, DropoutSource(0.3, (1,), DEVICE), Engine.TRITON, mask_rows)
    assert torch.equal(found, all_dropped[chosen])
    found.sum().backward()  # type: ignore[no-untyped-call]
    assert own.grad is not None
    assert torch.equal(own.grad, (found != 0).float())


# Not by importing it: Triton decides at that moment whether it interprets (see `tests.network.triton_interpreter`).
@pytest.mark.skipif(find_spec("triton") is None, reason="Triton is not installed")
@pytest.mark.slow
def test_every_kernel_compiles_for_an_a100_and_an_h100(tmp_path: Path) -> None:
    # A separate process, because this one may use the interpreter instead of the compiler.
    environment = {**os.environ, "TRITON_INTERPRET": "0", "TRITON_CACHE_DIR": str(tmp_path)}
    script = Path(__file__).with_name("compile_all.py")
    for_a100 = ("80", "10", "tf32", "brief", "products", "muon_segments")
    for_h100 = ("90", "10", "ieee", "brief", "clusters")
    for words, activations in ((for_a100, 0), (for_h100, 10)):
        done = subprocess.run(
            [sys.executable, str(script), *words], env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr[-2000:]
        assert done.stdout.count(" of code") == 4 + 2 + activations
