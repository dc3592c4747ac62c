"""Choice of the device, with simulated graphics cards."""

import pytest
import torch

from cal_ratio_trainer.errors import ConfigError
from cal_ratio_trainer.network.device import chosen_device, unserved_card


def machine_with(
    monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int] | None, built_for: tuple[str, ...] = ()
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: capability is not None)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda *_: capability)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda *_: "a card")
    monkeypatch.setattr(torch.cuda, "get_arch_list", lambda: list(built_for))


def test_without_a_gpu_auto_is_the_cpu_and_cuda_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    machine_with(monkeypatch, None)
    assert chosen_device("auto").type == "cpu"
    with pytest.raises(ConfigError, match="PyTorch sees no GPU"):
        chosen_device("cuda")


@pytest.mark.parametrize(
    ("capability", "built_for"),
    [
        ((9, 0), ("sm_80", "sm_90")),
        ((8, 9), ("sm_80", "sm_90")),
        ((9, 0), ("sm_75", "compute_75")),
        ((9, 0), ("sm_90a",)),
        ((8, 0), ()),
    ],
)
def test_a_card_for_which_there_is_code_is_taken(
    monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int], built_for: tuple[str, ...]
) -> None:
    machine_with(monkeypatch, capability, built_for)
    assert unserved_card() is None
    assert chosen_device("auto").type == chosen_device("cuda").type == "cuda"
    assert chosen_device("cpu").type == "cpu"


@pytest.mark.parametrize(
    ("capability", "built_for", "cure"),
    [
        ((7, 0), ("sm_75", "sm_80", "sm_90", "compute_120"), "whl/cu126"),
        ((12, 0), ("sm_80", "sm_90"), "pip install --upgrade torch"),
        ((9, 1), ("sm_80", "sm_90a"), "pip install --upgrade torch"),
    ],
)
def test_a_card_for_which_there_is_no_code_leaves_auto_on_the_cpu_and_names_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int], built_for: tuple[str, ...], cure: str
) -> None:
    machine_with(monkeypatch, capability, built_for)
    said = unserved_card()
    assert said is not None
    assert cure in said
    assert f"compute capability {capability[0]}.{capability[1]}" in said
    assert chosen_device("auto").type == "cpu"
    with pytest.raises(ConfigError, match="has no code for a card"):
        chosen_device("cuda")
