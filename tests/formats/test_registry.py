"""Formats by name; one that is registered from outside the package."""

import io
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cal_ratio_trainer.errors import InputFileError
from cal_ratio_trainer.formats import registry
from cal_ratio_trainer.formats.export import output_files
from cal_ratio_trainer.formats.network_file import read_network
from cal_ratio_trainer.formats.registry import NetworkFormat, Source, UnknownFormat, formats, register_format
from cal_ratio_trainer.formats.safetensors_file import network_from_safetensors, safetensors_bytes
from cal_ratio_trainer.formats.self_check import Expected, ExportFailed
from cal_ratio_trainer.formats.stored_layers import BadNetworkFile, StoredNetwork
from cal_ratio_trainer.network.shape import DEFAULT_SHAPE
from tests.formats.numpy_network import random_weights
from tests.formats.test_export import export_network, facts, probes

WEIGHTS = random_weights(DEFAULT_SHAPE, seed=1)


def write_npz(source: Source) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **dict(source.weights))  # type: ignore[arg-type]
    return b"NPZ " + buffer.getvalue()


def read_npz(content: bytes) -> StoredNetwork:
    with np.load(io.BytesIO(content[4:])) as arrays:
        return StoredNetwork(DEFAULT_SHAPE, dict(arrays), "npz")


def check_npz(content: bytes, expected: Expected) -> float:
    for name, values in read_npz(content).weights.items():
        if not np.array_equal(values, expected.weights[name]):
            raise ValueError(f"{name} differs")
    return 0.0


@pytest.fixture
def outside() -> Iterator[NetworkFormat]:
    new = NetworkFormat(
        *("npz", ".npz", "npz of somebody", write_npz, check_npz),
        recognises=lambda content: content.startswith(b"NPZ "),
        read=read_npz,
        holds_every_encoder=True,
        is_in_all=False,
    )
    yield register_format(new)
    registry._formats.pop("npz")


@pytest.mark.usefixtures("outside")
def test_a_format_from_outside_is_written_checked_and_read(tmp_path: Path) -> None:
    files = output_files(tmp_path / "model.json", "npz")
    done = export_network(files, facts(), WEIGHTS, probes())
    assert done.paths == (tmp_path / "model.npz",)
    np.testing.assert_array_equal(read_network(done.paths[0]).weights["output.bias"], WEIGHTS["output.bias"])
    assert json.loads(done.cards[0].read_text())["files"][0]["format"] == "npz"


def test_a_file_that_fails_the_check_of_its_format_is_not_kept(outside: NetworkFormat, tmp_path: Path) -> None:
    other = random_weights(DEFAULT_SHAPE, seed=2)
    register_format(replace(outside, write=lambda source: write_npz(replace(source, weights=other))))
    with pytest.raises(ExportFailed, match=r"model\.npz was written but failed its check.*differs"):
        export_network(output_files(tmp_path / "model.json", "npz"), facts(), WEIGHTS, probes())
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_name_is_refused_with_the_known_ones() -> None:
    with pytest.raises(UnknownFormat, match="format is 'onxn', expected one of fdeep, fdeep-keras3, keras, onnx, safe"):
        output_files(Path("model.json"), "onxn")


def test_every_content_is_of_one_format_at_most() -> None:
    source = Source(facts(), WEIGHTS, probes())
    for each in formats().values():
        content = each.write(source)
        taking = [other.name for other in formats().values() if other.recognises and other.recognises(content)]
        assert taking == ([] if each.name == "onnx" else [each.name.removesuffix("-keras3")])


def test_a_damaged_file_of_the_program_is_refused(tmp_path: Path) -> None:
    good = safetensors_bytes(DEFAULT_SHAPE, WEIGHTS, "a" * 32, 3)
    stored = network_from_safetensors(good)
    assert (stored.shape, stored.run, stored.epoch) == (DEFAULT_SHAPE, "a" * 32, 3)
    random = np.random.default_rng(2)
    for place in (*range(16), *random.integers(len(good), size=200)):
        damaged = bytearray(good)
        damaged[place] ^= 1 << int(random.integers(8))
        with pytest.raises(BadNetworkFile):
            network_from_safetensors(bytes(damaged))
    end = 8 + int.from_bytes(good[:8], "little")
    header = good[8:end].replace(b'version\\": 1', b'version\\": 1e999')
    with pytest.raises(BadNetworkFile, match="cannot convert float infinity"):
        network_from_safetensors(len(header).to_bytes(8, "little") + header + good[end:])
    file = tmp_path / "network.safetensors"
    file.write_bytes(good[:1000])
    with pytest.raises(InputFileError, match=r"network\.safetensors: is no network file"):
        read_network(file)
