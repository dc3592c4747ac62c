"""Matrix products with rounded factors, as in the matrix units of graphics cards, on any device."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

MANTISSA_BITS = {"tf32": 10, "bf16": 7}
"""Of single precision's 23; both have its exponents."""

_aten = torch.ops.aten
_FACTORS = {
    **dict.fromkeys((_aten.mm.default, _aten.mm.out, _aten.bmm.default), (0, 1)),
    **dict.fromkeys((_aten.addmm.default, _aten.addmm.out), (1, 2)),
}


def rounded_products(precision: str) -> AbstractContextManager[Any]:
    """Context in which PyTorch's products in this thread round factors to 'tf32' or 'bf16'; 'ieee' changes nothing."""
    return _Rounding(MANTISSA_BITS[precision]) if precision in MANTISSA_BITS else nullcontext()


def rounded(x: Tensor, bits: int) -> Tensor:
    """Single-precision numbers rounded to this many bits of mantissa, half away from zero."""
    dropped = 23 - bits
    words = x.contiguous().view(torch.int32)
    return ((words + (1 << (dropped - 1))) & -(1 << dropped)).view(torch.float32)


class _Rounding(TorchDispatchMode):  # type: ignore[no-untyped-call]
    def __init__(self, bits: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._bits = bits

    def __torch_dispatch__(
        self, func: Any, types: Sequence[Any], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        changed = list(args)
        for place in _FACTORS.get(func, ()):
            if changed[place].dtype == torch.float32:
                changed[place] = rounded(changed[place], self._bits)
        return func(*changed, **(kwargs or {}))
