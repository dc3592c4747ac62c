"""Choice of the engine, and messages for graphics cards that are no longer supported."""

import pytest
import torch

from cal_ratio_trainer.errors import ConfigError
from cal_ratio_trainer.network import engine as engines
from cal_ratio_trainer.network.engine import (
    Engine,
    EngineUnusable,
    chosen_device,
    engine_for,
    fallback_notice,
    set_matmul_precision,
    triton_precision,
    unserved_card,
)

CPU, GPU = torch.device("cpu"), torch.device("cuda")


@pytest.fixture
def card(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Machine with Triton and a V100; tests change single properties."""
    monkeypatch.setattr(engines, "_has", lambda module: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda *_: (7, 0))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda *_: "Tesla V100")
    return monkeypatch


def test_single_precision_on_a_cpu_is_for_the_compiled_loops_and_double_for_pytorch() -> None:
    assert engine_for(CPU, torch.float32) is Engine.NUMBA
    assert engine_for(CPU, torch.float64) is Engine.TORCH


def test_a_card_that_triton_serves_gets_triton(card: pytest.MonkeyPatch) -> None:
    card.setattr(torch.cuda, "get_device_capability", lambda *_: (9, 0))
    assert engine_for(GPU, torch.float32) is Engine.TRITON
    assert engine_for(GPU, torch.float64) is Engine.TORCH
    assert fallback_notice(GPU) is None
    assert fallback_notice(CPU) is None


def test_an_older_card_gets_pytorchs_operations_and_one_line_that_says_so(card: pytest.MonkeyPatch) -> None:
    assert engine_for(GPU, torch.float32) is Engine.TORCH
    notice = fallback_notice(GPU)
    assert notice is not None
    assert "\n" not in notice
    assert "compute capability 8.0 or more, and Tesla V100 has 7.0" in notice
    with pytest.raises(EngineUnusable, match=r"engine triton cannot be used: .* Tesla V100 has 7\.0"):
        engine_for(GPU, torch.float32, "triton")


def test_without_triton_a_gpu_gets_pytorchs_operations_and_is_told_what_to_install(card: pytest.MonkeyPatch) -> None:
    card.setattr(engines, "_has", lambda module: False)
    assert engine_for(GPU, torch.float32) is Engine.TORCH
    assert "pip install triton" in str(fallback_notice(GPU))


def test_triton_on_a_cpu_is_for_its_interpreter_alone(card: pytest.MonkeyPatch) -> None:
    card.delenv("TRITON_INTERPRET", raising=False)
    with pytest.raises(EngineUnusable, match="computes on a GPU, and the network is on the CPU"):
        engine_for(CPU, torch.float32, "triton")
    card.setenv("TRITON_INTERPRET", "1")
    assert engine_for(CPU, torch.float32, "triton") is Engine.TRITON
    assert engine_for(CPU, torch.float32) is Engine.NUMBA


def test_numba_on_a_gpu_is_refused() -> None:
    with pytest.raises(EngineUnusable, match="computes on the CPU, not on cuda"):
        engine_for(GPU, torch.float32, "numba")


def test_tf32_is_for_gpus_alone_and_reaches_tritons_products() -> None:
    before = torch.get_float32_matmul_precision()
    try:
        set_matmul_precision(CPU, "tf32")
        assert torch.get_float32_matmul_precision() == before
        set_matmul_precision(GPU, "tf32")
        assert triton_precision() == "tf32"
        set_matmul_precision(GPU, "ieee")
        assert triton_precision() == "ieee"
    finally:
        torch.set_float32_matmul_precision(before)


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
