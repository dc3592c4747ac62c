"""Device of a network, copies to it, and graphics cards that the installed PyTorch can compute on."""

import re
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from cal_ratio_trainer.errors import ConfigError


def chosen_device(wanted: str) -> torch.device:
    """Returns the device to run on.

    Args:
        wanted: 'auto', 'cpu' or 'cuda'; auto takes a GPU where there is one that can be used.

    Raises:
        ConfigError: a GPU is asked for and there is none, or the installed PyTorch has no code for it.
    """
    if wanted == "cuda" and not torch.cuda.is_available():
        raise ConfigError(["device is cuda, but PyTorch sees no GPU; take auto or cpu"])
    unserved = unserved_card() if wanted != "cpu" else None
    if wanted == "cuda" and unserved:
        raise ConfigError([f"device is cuda, but {unserved}; or take auto or cpu"])
    use_gpu = wanted != "cpu" and torch.cuda.is_available() and not unserved
    return torch.device("cuda" if use_gpu else "cpu")


def on_device(values: NDArray[Any], device: torch.device) -> Tensor:
    """An array as a tensor on a device, without waiting for it; on the host they share memory."""
    tensor = torch.from_numpy(values)
    # A copy from memory that can be paged out waits for the device.
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor


def unserved_card() -> str | None:
    """Reason why the GPU cannot be used, and advice, if PyTorch was built without code for it; otherwise None."""
    if not torch.cuda.is_available():
        return None
    capability, built_for = torch.cuda.get_device_capability(), torch.cuda.get_arch_list()
    if not built_for or any(_serves(arch, capability) for arch in built_for):
        return None
    major, minor = capability
    return (
        f"PyTorch {torch.__version__} has no code for {torch.cuda.get_device_name()} (compute capability "
        f"{major}.{minor}; it was built for {' '.join(built_for)}): {_what_to_install(capability, built_for)}"
    )


def _serves(arch: str, capability: tuple[int, int]) -> bool:
    """Code 'sm_75' runs on cards of the same major number; 'compute_75' is compiled for any newer card when loaded."""
    match = re.fullmatch(r"(sm|compute)_(\d+)(\d)([af]?)", arch)
    if match is None:
        return False
    kind, built = match[1], (int(match[2]), int(match[3]))
    if match[4]:
        return built == capability
    return built <= capability and (kind == "compute" or built[0] == capability[0])


def _what_to_install(capability: tuple[int, int], built_for: list[str]) -> str:
    known = [(int(digits[1]), int(digits[2])) for arch in built_for if (digits := re.search(r"_(\d+)(\d)", arch))]
    if known and capability < min(known):
        return (
            "install one built for an older CUDA, which still has it, "
            "e.g. pip install 'torch>=2.6,<2.8' --index-url https://download.pytorch.org/whl/cu126"
        )
    return "install a newer one, pip install --upgrade torch"
