"""Formats by name; one that is registered from outside the package."""

import hashlib
import io
import json
import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import groupby, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from markdown_it import MarkdownIt
from safetensors.numpy import save

from cal_ratio_trainer.errors import InputFileError
from cal_ratio_trainer.formats import registry
from cal_ratio_trainer.formats.export import Exported, export_networks, output_files
from cal_ratio_trainer.formats.fdeep_reading import read_fdeep
from cal_ratio_trainer.formats.model_card import FoldFacts, NetworkFacts
from cal_ratio_trainer.formats.network_file import read_own_network
from cal_ratio_trainer.formats.onnx_graph import MissingOnnx, Preprocessing
from cal_ratio_trainer.formats.probe_jets import KnownScores
from cal_ratio_trainer.formats.registry import (
    NetworkFormat,
    UnknownFormat,
    formats,
    read_network,
    register_format,
)
from cal_ratio_trainer.formats.safetensors_file import (
    _digest,
    described_shape,
    network_from_safetensors,
    safetensors_bytes,
)
from cal_ratio_trainer.formats.self_check import ExportFailed, NetworkToWrite, Probes
from cal_ratio_trainer.formats.stored_network import BadNetworkFile, StoredNetwork
from cal_ratio_trainer.network.shape import DEFAULT_SHAPE, NetworkShape
from tests.formats.expected import USUAL, known_scores, probe_inputs
from tests.formats.numpy_network import random_weights
from tests.formats.shapes import SHAPES
from tests.reporting.some_reports import HOSTILE

WEIGHTS = random_weights(DEFAULT_SHAPE, seed=1)


def write_npz(network: NetworkToWrite) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **dict(network.weights))  # type: ignore[arg-type]
    return b"NPZ " + buffer.getvalue()


def read_npz(content: bytes) -> StoredNetwork:
    with np.load(io.BytesIO(content[4:])) as arrays:
        return StoredNetwork(DEFAULT_SHAPE, dict(arrays), "npz")


def check_npz(content: bytes, network: NetworkToWrite) -> float:
    for name, values in read_npz(content).weights.items():
        if not np.array_equal(values, network.weights[name]):
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
    register_format(replace(outside, write=lambda network: write_npz(replace(network, weights=other))))
    with pytest.raises(ExportFailed, match=r"model\.npz was written but failed its check.*differs"):
        export_network(output_files(tmp_path / "model.json", "npz"), facts(), WEIGHTS, probes())
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_name_is_refused_with_the_known_ones() -> None:
    with pytest.raises(UnknownFormat, match="format is 'onxn', expected one of fdeep, fdeep-keras3, keras, onnx, safe"):
        output_files(Path("model.json"), "onxn")


def test_every_content_is_of_one_format_at_most() -> None:
    network = NetworkToWrite(facts(), WEIGHTS, probes())
    for each in formats().values():
        content = each.write(network)
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


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"lstm_layers": 10**9}, "has 1000000000 LSTM layers, expected 1 to 1024"),
        ({"hidden": [512, -64]}, "has a layer of -64 units"),
        ({"branches": []}, "its branches are not those of its features"),
        ({"dropout": math.nan}, "dropout nan"),
        ({"masses": -3}, "has -3 masses"),
        ({"encoder": "transformer", "options": {"width": 10**6, "layers": 1}}, "expected width=NUMBER from 1 to 1024"),
        ({"encoder": "transformer", "options": {"width": 6, "heads": 4}}, "width 6 cannot be shared evenly by 4 heads"),
        # Some TiB of weights, which the file does not hold.
        ({"encoder": "transformer", "options": {"width": 1024, "layers": 1024}}, "weights missing or unknown"),
    ],
)
def test_a_file_that_describes_an_impossible_network_is_refused(changes: dict[str, Any], said: str) -> None:
    described = {**described_shape(DEFAULT_SHAPE), **changes}
    options = [*described.pop("options", {}).items()]
    described["branches"] = [{**branch, "options": options} for branch in described["branches"]]
    text = json.dumps({"format_version": 1, "run": None, "epoch": None, "shape": described})
    content = save(WEIGHTS, metadata={"cal_ratio_trainer_network": text, "sha256": _digest(text, WEIGHTS)})
    with pytest.raises(BadNetworkFile, match=said):
        network_from_safetensors(content)


ALL_FILES = {"model.json", "model_keras3.json", "model.keras", "model.onnx", "model.card.json", "model.card.md"}


def facts(shape: NetworkShape = DEFAULT_SHAPE) -> NetworkFacts:
    """Facts for the card of a network."""
    masses = ("llp_mH", "llp_mS")[: shape.masses]
    return NetworkFacts(
        name="study/00003/12",
        shape=shape,
        preprocessing=Preprocessing(USUAL),
        mass_names=masses,
        training={"run": "study/00003", "epoch": 12, "versions": {"commit": "abc"}},
        data={"main": {"file": "main.parquet", "sha256": "0" * 64}},
        figures={"jets_qcd": 10.0, "jets_sig": 20.0, "jets_bib": 30.0, "auc": 0.987654321, "rejection_90": np.inf},
        notes=("Something to know",),
    )


def probes(shape: NetworkShape = DEFAULT_SHAPE, seed: int = 1) -> Probes:
    """Jets with the scores of the network with random weights."""
    return Probes(known_scores(shape, random_weights(shape, seed)), probe_inputs(shape)[1])


def export_network(
    files: Mapping[str, Path],
    known: NetworkFacts,
    weights: Mapping[str, np.ndarray],
    jets: Probes,
    **onnx_options: Any,
) -> Exported:
    """Writes a set of one network."""
    network = NetworkToWrite(known, weights, jets, files, **onnx_options)
    return export_networks([network], known, next(iter(files.values())))


def write_all(folder: Path, shape: NetworkShape = DEFAULT_SHAPE) -> Exported:
    """All formats of the network with random weights."""
    files = output_files(folder / "model.json", "all")
    return export_network(files, facts(shape), random_weights(shape, seed=1), probes(shape))


@pytest.mark.parametrize(
    ("output", "format_name", "expected"),
    [
        ("model.json", "fdeep", "model.json"),
        ("model.json", "fdeep-keras3", "model.json"),
        ("model.json", "keras", "model.keras"),
        ("model", "onnx", "model.onnx"),
        ("nn_config_study.v2", "fdeep", "nn_config_study.v2.json"),
        ("net.onnx", "fdeep", "net.json"),
    ],
)
def test_a_file_has_the_name_that_was_asked_for_and_the_ending_of_its_format(
    output: str, format_name: str, expected: str
) -> None:
    assert output_files(Path("folder") / output, format_name) == {format_name: Path("folder") / expected}


@pytest.mark.parametrize("name", SHAPES)
def test_all_formats_of_a_network_are_written_and_pass_their_check(name: str, tmp_path: Path) -> None:
    done = write_all(tmp_path / "new" / "folder", SHAPES[name])
    assert {path.name for path in (tmp_path / "new" / "folder").iterdir()} == ALL_FILES
    assert [file.format for file in done.files] == ["fdeep", "fdeep-keras3", "keras", "onnx"]
    for path, file in zip(done.paths, done.files, strict=True):
        content = path.read_bytes()
        assert (len(content), hashlib.sha256(content).hexdigest()) == (file.size_bytes, file.sha256)
        assert file.largest_difference < 1e-5
        assert file.jets_checked == 96
    stored = read_own_network(done.paths[2])
    shape, weights = stored.shape, stored.weights
    assert shape == SHAPES[name]
    np.testing.assert_array_equal(weights["output.kernel"], random_weights(SHAPES[name], seed=1)["output.kernel"])
    tests = read_fdeep(done.paths[0].read_bytes()).tests
    assert tests is not None
    assert len(tests.inputs) == 12


def test_the_same_network_gives_the_same_bytes_of_every_file_cards_included(tmp_path: Path) -> None:
    write_all(tmp_path / "first")
    time.sleep(1.1)  # zip and HDF5 note times in whole seconds
    write_all(tmp_path / "second")
    for name in ALL_FILES:
        assert (tmp_path / "first" / name).read_bytes() == (tmp_path / "second" / name).read_bytes(), name


def test_a_card_does_not_depend_on_the_last_bits_of_a_processor(tmp_path: Path) -> None:
    here = probes()
    elsewhere = replace(here, scaled=KnownScores(here.scaled.inputs, here.scaled.scores * np.float32(1 + 2e-6)))
    differences = []
    for folder, jets in (("here", here), ("elsewhere", elsewhere)):
        files = output_files(tmp_path / folder / "model.json", "all")
        done = export_network(files, facts(), random_weights(DEFAULT_SHAPE, seed=1), jets)
        differences.append(done.files[0].largest_difference)
    assert differences[1] > 2 * differences[0]
    for name in ALL_FILES:
        assert (tmp_path / "here" / name).read_bytes() == (tmp_path / "elsewhere" / name).read_bytes(), name


def test_nothing_is_left_and_nothing_touched_where_one_file_of_several_fails(tmp_path: Path) -> None:
    for name in ("model.json", "model.card.md"):
        (tmp_path / name).write_text("of before")
    other = probes(seed=2)
    with pytest.raises(ExportFailed, match=r"^model\.json was written but failed its check, so nothing was kept"):
        export_network(output_files(tmp_path / "model", "all"), facts(), random_weights(DEFAULT_SHAPE, 1), other)
    mixed = replace(probes(), converted=other.scaled)
    with pytest.raises(ExportFailed, match=r"^model\.onnx was written but failed its check, so nothing was kept"):
        export_network(
            output_files(tmp_path / "model", "all"),
            facts(),
            random_weights(DEFAULT_SHAPE, 1),
            mixed,
            onnx_scales_jets=True,
        )
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {
        "model.json": "of before",
        "model.card.md": "of before",
    }


@pytest.mark.parametrize("missing", ["onnx", "onnxruntime"])
def test_without_the_packages_it_is_said_what_to_install_before_anything_is_written(
    missing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import importlib.util

    found = importlib.util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name, *rest: None if name == missing else found(name, *rest))
    with pytest.raises(MissingOnnx, match=rf"need the package {missing}, .* pip install 'cal_ratio_trainer\[onnx\]'"):
        write_all(tmp_path)
    assert list(tmp_path.iterdir()) == []
    files = output_files(tmp_path / "model.json", "fdeep")
    export_network(files, facts(), random_weights(DEFAULT_SHAPE, 1), probes())
    assert (tmp_path / "model.json").is_file()


def test_the_card_says_what_the_network_is_and_what_its_files_are(tmp_path: Path) -> None:
    done = write_all(tmp_path)
    card = json.loads((tmp_path / "model.card.json").read_text())
    assert card["network"] == "study/00003/12"
    assert card["training"]["versions"] == {"commit": "abc"}
    assert card["data"]["main"]["file"] == "main.parquet"
    assert card["outputs"] == ["QCD", "signal", "BIB"]
    assert card["test_figures"]["auc"] == 0.9877
    assert card["test_figures"]["rejection_90"] is None
    assert card["notes"] == ["Something to know"]
    assert {file["file"]: file["sha256"] for file in card["files"]} == {file.file: file.sha256 for file in done.files}
    page = (tmp_path / "model.card.md").read_text()
    for said in ("# study/00003/12", "Something to know.", "10 QCD, 20 signal, 30 BIB", "0.9877", "main.parquet"):
        assert said in page
    for file in done.files:
        assert f"| `{file.file}` | {file.format}" in page
        assert file.sha256 in page


def test_text_of_users_and_files_is_shown_on_the_page_letter_by_letter(tmp_path: Path) -> None:
    known = replace(
        facts(),
        name=HOSTILE,
        training={"tag": HOSTILE, "note": HOSTILE, HOSTILE: "value"},
        data={HOSTILE: {"file": HOSTILE, HOSTILE: 1}},
        notes=(HOSTILE,),
        folds=FoldFacts(HOSTILE, "eventNumber % 3", 3, 1),
    )
    path = tmp_path / f"{'<b>|`[x](http://a.b)`'.replace('/', ':')}.json"
    export_network(output_files(path, "fdeep"), known, random_weights(DEFAULT_SHAPE, seed=1), probes())
    (page,) = tmp_path.glob("*.card.md")
    tokens = MarkdownIt("commonmark").enable("table").parse(page.read_text("utf-8"))
    inside = [child for token in tokens for child in token.children or ()]
    assert {child.type for child in inside} <= {"text", "text_special", "code_inline", "softbreak"}
    assert not [token for token in tokens if token.type == "html_block"]
    headings = [following.content for token, following in pairwise(tokens) if token.type == "heading_open"]
    assert len(headings) == len([line for line in page.read_text("utf-8").splitlines() if line.startswith("#")]) == 12
    rows = [token for token in tokens if token.type in ("tr_open", "td_open", "th_open")]
    cells = [len(list(group)) for is_row, group in groupby(rows, lambda each: each.type == "tr_open") if not is_row]
    assert set(cells) <= {2, 3, 4, 5}


def test_an_onnx_file_carries_the_card_as_metadata(tmp_path: Path) -> None:
    done = write_all(tmp_path)
    card = json.loads((tmp_path / "model.card.json").read_text())
    said = {each.key: each.value for each in onnx.load_model(str(done.paths[3])).metadata_props}
    assert said["network"] == card["network"]
    for name in ("training", "data", "inputs", "outputs", "scaling", "test_figures", "notes"):
        assert json.loads(said[name]) == card[name]


def test_a_file_that_scales_jets_itself_is_tried_on_converted_ones(tmp_path: Path) -> None:
    files = output_files(tmp_path / "model", "onnx")
    options = {"opset": 13, "onnx_scales_jets": True}
    weights = random_weights(DEFAULT_SHAPE, 1)
    with pytest.raises(ValueError, match="needs converted jets"):
        export_network(files, facts(), weights, probes(), **options)
    # Only empty jets in the centre of the detector: scaling changes only their pt.
    empty = known_scores(DEFAULT_SHAPE, weights)
    inputs = empty.inputs.take(np.arange(5))
    raw = tuple(
        array * np.array([500, 1, 1], dtype=np.float32) if array.shape[-1] == 3 else array for array in inputs.arrays
    )
    converted = KnownScores(replace(inputs, arrays=raw), empty.scores[:5])
    done = export_network(files, facts(), weights, replace(probes(), converted=converted), **options)
    assert done.files[0].converted
    assert done.files[0].details == {"opset": 13}
    card = json.loads((tmp_path / "model.card.json").read_text())
    assert "inputs" not in card
    names = [array["name"] for array in card["inputs_of_converted_jets"]]
    assert names == [each.name for each in onnx.load_model(str(done.paths[0])).graph.input]
