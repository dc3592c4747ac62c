"""A blinded score hides the tail of data outside a control region from everything that it writes."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cal_ratio_trainer.building.scaling import scale
from cal_ratio_trainer.files.parquet import read_table
from cal_ratio_trainer.jets import CONSTITUENTS, DataType, Jets, Label
from cal_ratio_trainer.jets.metadata import JetMetadata
from cal_ratio_trainer.jets.store import write_jets
from cal_ratio_trainer.reporting.score_report import score_with_report
from cal_ratio_trainer.scoring.file_scoring import ScoreRequest, score_piece, score_whole, settings_for
from cal_ratio_trainer.scoring.score import score_files
from cal_ratio_trainer.scoring.score_file import BLINDED
from cal_ratio_trainer.workers.opening import OwnProcess
from tests.factories.files import SCALING, write_converted
from tests.factories.jets import mixed_jets
from tests.factories.ntuples import random_events, write_ntuple
from tests.scoring.small import OUTPUTS, read_score_description, score_settings, scores_in

ABOVE = 0.4
OFFICIAL = "jet_nn_calRatio_main_sig_lowMass_v3Adv"


def file_of(path: Path, jets: Jets, **metadata: Any) -> Path:
    """File of converted jets with further metadata."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_jets(path, jets, JetMetadata(**({"stage": "converted"} | metadata)))
    return path


def jets_of(label: Label | None, jets: int = 300) -> Jets:
    """Jets of one label, or of all, with a score by C++."""
    found = mixed_jets(jets)
    if label is not None:
        found = found.with_columns({"label": np.full(jets, int(label), dtype=np.int8)})
    for kind in CONSTITUENTS:
        angles = [position for position, feature in enumerate(kind.features) if "phi" in feature.name]
        # An angle beyond pi is a note in the report that is independent of scores.
        found.constituents[kind.name].values[:, angles] = np.sin(found.constituents[kind.name].values[:, angles])
    return found.with_columns({OFFICIAL: np.linspace(0, 1, jets).astype(np.float32)})


def scored(folder: Path, file: Path, network: Path, **changes: Any) -> pa.Table:
    """The scores of one file."""
    score_files(score_settings(folder, [file], network, **changes))
    return pq.read_table(folder / "scores" / f"{file.stem}.parquet")


def signal_scores(table: pa.Table) -> np.ndarray:
    """Signal scores [jets] in double precision; NaN where hidden."""
    return np.asarray(table.column("jet_nn_sig").to_numpy(), dtype=np.float64)


def test_all_outputs_of_the_tail_are_null_and_marked_and_all_else_is_as_it_was(network: Path, tmp_path: Path) -> None:
    file = file_of(tmp_path / "data.parquet", jets_of(Label.BIB), data_type=DataType.DATA)
    open_, blind = scored(tmp_path / "open", file, network), scored(tmp_path, file, network, blind_above=ABOVE)
    tail = signal_scores(open_) > ABOVE
    assert 20 < tail.sum() < 280
    assert BLINDED not in open_.column_names
    np.testing.assert_array_equal(blind.column(BLINDED).to_numpy(), tail)
    for name in OUTPUTS:
        np.testing.assert_array_equal(blind.column(name).is_null().to_numpy(), tail)
        assert blind.column(name).filter(pa.array(~tail)) == open_.column(name).filter(pa.array(~tail))
    # Scores of other networks would reveal the tail too.
    assert blind.column(OFFICIAL).null_count == len(blind)
    for name in set(open_.column_names) - {*OUTPUTS, OFFICIAL}:
        assert blind.column(name) == open_.column(name), name
    said = read_score_description(tmp_path / "scores" / "data.parquet")
    assert said["blind_above"] == ABOVE
    assert any(note.startswith("blinded: jets of data") for note in said["notes"])
    assert sum(said["jets_by_part"].values()) == (~tail).sum()


def test_a_score_just_above_is_hidden_though_single_precision_cannot_tell(network: Path, tmp_path: Path) -> None:
    file = file_of(tmp_path / "data.parquet", jets_of(Label.BIB), data_type=DataType.DATA)
    scores = signal_scores(scored(tmp_path / "open", file, network))
    limit = float(np.sort(scores)[150])
    blind = signal_scores(scored(tmp_path, file, network, blind_above=limit - 1e-12))
    assert np.nanmax(blind) == np.sort(scores)[149]


@pytest.mark.parametrize(
    ("metadata", "settings", "hidden"),
    [
        ({"data_type": DataType.DATA}, {}, {2}),
        ({"data_type": DataType.BIB}, {}, {2}),
        ({"data_type": DataType.DATA}, {"kind": "main"}, {2}),
        ({"data_type": DataType.DATA}, {"kind": "control"}, set()),
        ({}, {}, {2}),
        ({}, {"kind": "control"}, set()),
        ({"stage": "built", "kind": "main", "scaling": SCALING}, {}, {2}),
        ({"stage": "built", "kind": "main", "scaling": SCALING}, {"kind": "control"}, {2}),
        ({"stage": "built", "kind": "control", "scaling": SCALING}, {}, set()),
        ({"data_type": DataType.QCD}, {}, set()),
        ({"data_type": DataType.SIGNAL}, {}, set()),
    ],
)
def test_data_are_hidden_unless_a_control_region_is_declared_and_simulation_never_is(
    metadata: dict[str, Any], settings: dict[str, Any], hidden: set[int], network: Path, tmp_path: Path
) -> None:
    data_type = metadata.get("data_type")
    jets = jets_of(None if data_type is None else data_type.label)
    file = file_of(tmp_path / "jets.parquet", scale(jets, SCALING).jets if "stage" in metadata else jets, **metadata)
    table = scored(tmp_path, file, network, blind_above=ABOVE, **settings)
    labels = table.column("label").to_numpy()
    null = table.column("jet_nn_sig").is_null().to_numpy()
    assert set(labels[null].tolist()) == hidden
    for label in hidden:
        assert np.nanmax(signal_scores(table)[labels == label]) <= ABOVE


@pytest.mark.parametrize(
    ("settings", "is_hidden"), [({}, True), ({"data_type": "data"}, True), ({"data_type": "qcd"}, False)]
)
def test_an_ntuple_is_data_until_it_is_said_to_be_simulation(
    settings: dict[str, Any], is_hidden: bool, network: Path, tmp_path: Path
) -> None:
    file = write_ntuple(tmp_path / "tiny.root", random_events(3, 40))
    scores = signal_scores(scored(tmp_path / "open", file, network, **settings))
    limit = float(np.median(scores))
    table = scored(tmp_path, file, network, blind_above=limit, **settings)
    np.testing.assert_array_equal(table.column("jet_nn_sig").is_null().to_numpy(), is_hidden & (scores > limit))


def test_pieces_of_a_file_hold_nothing_hidden_and_become_the_whole(network: Path, tmp_path: Path) -> None:
    file = write_ntuple(tmp_path / "tiny.root", random_events(3, 60), splits=tuple(range(5, 60, 5)))
    changes = {"data_type": "data", "blind_above": ABOVE, "chunk_events": 10, "piece_events": 20}
    settings = score_settings(tmp_path, [file], network, **changes)
    settings = settings_for(OwnProcess(), settings)
    request = ScoreRequest(str(file), tmp_path / "scores" / "tiny.parquet", settings, "a call")
    request.output.parent.mkdir()
    pieces: Any = score_whole(lambda *told: None, request, True)
    assert len(pieces.pieces) > 1
    hidden = 0
    for piece in pieces.pieces:
        done = score_piece(lambda *told: None, request, piece)
        with done.path.open("rb") as raw:
            for each in done.batches:
                column = read_table(raw, each, done.path).column("scores.jet_nn_sig")
                hidden += column.null_count
                # Also checks the bytes stored under null values.
                for chunk in column.chunks:
                    assert not np.any(np.frombuffer(chunk.buffers()[1], np.float32)[: len(chunk)] > ABOVE)
    assert hidden > 10
    whole = scored(tmp_path / "whole", file, network, **changes, scheduler="none")
    assert scored(tmp_path / "pieces", file, network, **changes, workers=2) == whole
    assert whole.column("jet_nn_sig").null_count == hidden


def test_a_blinded_report_is_that_of_files_without_the_hidden_jets(
    network: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cal_ratio_trainer.scoring.file_scoring.time.perf_counter", lambda: 0.0)
    main, data = jets_of(None), jets_of(Label.BIB)
    hidden = [
        signal_scores(scored(tmp_path / "open", write_converted(tmp_path / "all.parquet", jets), network)) > ABOVE
        for jets in (main, data)
    ]
    hidden[0] &= main.label == Label.BIB
    assert min(each.sum() for each in hidden) > 20
    written = []
    for folder, files in (
        ("blind", (main, data)),
        ("without", (main.where(~hidden[0]), data.where(~hidden[1]))),
    ):
        inputs = [
            file_of(tmp_path / folder / "in" / "main.parquet", files[0], stage="converted"),
            file_of(tmp_path / folder / "in" / "data.parquet", files[1], data_type=DataType.DATA),
        ]
        monkeypatch.chdir(tmp_path / folder)
        names = [path.relative_to(tmp_path / folder) for path in inputs]
        score_with_report(score_settings(Path(), names, network, blind_above=ABOVE, cuts=[0.2, ABOVE, 0.9]))
        written.append(
            {
                path.name: path.read_bytes()
                for path in (tmp_path / folder / "scores").rglob("*")
                if path.is_file() and path.suffix != ".parquet"
            }
        )
    assert written[0]["report.md"].decode().splitlines() == written[1]["report.md"].decode().splitlines()
    assert written[0] == written[1]
    text = written[0]["report.md"].decode()
    assert "Jets with labels, blinded" in text
    assert "Data outside a control region, blinded" in text
    assert "Data, including beam-induced background, are blinded and left out" in text
    (bib,) = [line for line in text.splitlines() if line.startswith("| BIB")][:1]
    assert bib.count("blinded") == 2
    assert "K-S" not in text


def test_without_a_limit_nothing_is_hidden(network: Path, tmp_path: Path) -> None:
    file = file_of(tmp_path / "data.parquet", jets_of(Label.BIB), data_type=DataType.DATA)
    assert np.isfinite(scores_in(scored(tmp_path, file, network))).all()


def test_a_file_without_jets_has_the_column_too(network: Path, tmp_path: Path) -> None:
    file = file_of(tmp_path / "none.parquet", jets_of(Label.BIB).slice(0, 0), data_type=DataType.DATA)
    assert BLINDED in scored(tmp_path, file, network, blind_above=ABOVE).column_names
