"""A blinded comparison is equal to that of files without the tail of data in either network."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cal_ratio_trainer.errors import InputFileError
from cal_ratio_trainer.jets import DataType, Label
from cal_ratio_trainer.reporting.compare_report import compare_with_report
from cal_ratio_trainer.scoring.compare import CompareSummary, compare
from cal_ratio_trainer.scoring.compared import ComparedJets
from cal_ratio_trainer.scoring.score_file import BLINDED
from tests.factories.networks import write_network
from tests.scoring.small import read_score_description
from tests.scoring.test_blinding import ABOVE, OFFICIAL, file_of, jets_of
from tests.scoring.test_compare import compare_settings

COLUMN = "jet_nn_x_{}"


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another network."""
    return write_network(tmp_path_factory.mktemp("other") / "other.keras", seed=2)


def data_file(folder: Path, label: Label | None = Label.BIB, **metadata: Any) -> Path:
    return file_of(folder / "jets.parquet", jets_of(label), **({"data_type": DataType.DATA} | metadata))


def jets_in(summary: CompareSummary) -> ComparedJets:
    """The jets of a comparison on one region."""
    (sample,) = summary.samples.values()
    return sample.jets


def tail_of(summary: CompareSummary) -> tuple[float, np.ndarray]:
    """A limit, and [jets] whether a signal output of either is above it; of a comparison of all jets."""
    jets = jets_in(summary)
    outputs = [scores[:, Label.SIGNAL].astype(np.float64) for scores in (jets.first, jets.second)]
    limit = round(float(np.median(np.maximum(*outputs))), 2)
    above = [output > limit for output in outputs]
    # Each hides jets that the other would not.
    assert np.any(above[0] & ~above[1])
    assert np.any(above[1] & ~above[0])
    hidden: np.ndarray = above[0] | above[1]
    return limit, hidden


def assert_same_rows(found: pa.Table, expected: pa.Table) -> None:
    """Asserts equal rows except for rounding of scores, which depends on the number of jets computed together."""
    assert found.column_names == expected.column_names
    for name in found.column_names:
        if name.endswith(("_first", "_second")):
            one, other = (table.column(name).to_numpy() for table in (found, expected))
            np.testing.assert_allclose(one, other, rtol=0, atol=1e-6)
        else:
            assert found.column(name) == expected.column(name), name


@pytest.mark.parametrize("with_labels", [False, True], ids=["a file of data", "a file of all classes"])
def test_everything_written_is_that_of_a_file_without_the_hidden_jets(
    with_labels: bool, network: Path, other: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    jets = jets_of(None if with_labels else Label.BIB)
    metadata: dict[str, Any] = {} if with_labels else {"data_type": DataType.DATA}
    file_of(tmp_path / "open" / "jets.parquet", jets, **metadata)
    open_ = compare(compare_settings(tmp_path / "open", network, other, tmp_path / "open" / "jets.parquet"))
    limit, hidden = tail_of(open_)
    hidden &= jets.label == Label.BIB
    assert 20 < hidden.sum() < (jets.label == Label.BIB).sum()
    written = []
    for folder, kept in (("blind", jets), ("without", jets.where(~hidden))):
        file_of(tmp_path / folder / "jets.parquet", kept, **metadata)
        monkeypatch.chdir(tmp_path / folder)
        result = compare_with_report(
            compare_settings(Path(), network, other, "jets.parquet", blind_above=limit, disagreements=0)
        )
        table = pq.read_table(tmp_path / folder / "compared" / "compared.parquet")
        written.append((result.report.read_text(), table))
    assert written[0][0].splitlines() == written[1][0].splitlines()
    assert_same_rows(written[0][1], written[1][1])
    text, table = written[0]
    assert f"a signal output of either above {limit:g} are left out of all numbers and figures of scores" in text
    assert len(table) == (~hidden).sum()
    assert BLINDED not in table.column_names
    # Scores of other networks would reveal the tail too.
    labels = np.asarray(table.column("label").to_numpy())
    np.testing.assert_array_equal(table.column(OFFICIAL).is_null().to_numpy(), labels == Label.BIB)
    assert ("Data, including beam-induced background, are blinded and left out" in text) == with_labels
    assert ("AUC, QCD" in text) == with_labels
    assert "BIB alone" not in text
    described = read_score_description(tmp_path / "blind" / "compared" / "compared.parquet")
    assert described["blind_above"] == limit


@pytest.mark.parametrize(
    ("metadata", "settings"),
    [({}, {"kind": "control"}), ({"data_type": DataType.QCD}, {})],
    ids=["a declared control region", "simulation"],
)
def test_what_may_be_seen_is_compared_as_ever(
    metadata: dict[str, Any], settings: dict[str, Any], network: Path, other: Path, tmp_path: Path
) -> None:
    file = data_file(tmp_path, Label.QCD if metadata else Label.BIB, **metadata)
    tables = [
        pq.read_table(compare(compare_settings(tmp_path, network, other, file, blind_above=limit, **settings)).scores)
        for limit in (None, ABOVE)
    ]
    assert tables[0] == tables[1]


def test_scores_in_files_are_blinded_as_those_of_networks_are_and_jets_without_any_are_counted(
    network: Path, tmp_path: Path
) -> None:
    jets = jets_of(Label.BIB, 200)
    signal = np.linspace(0, 1, 200).astype(np.float32)
    signal[:5] = -1
    columns = {"sig": signal, "qcd": np.where(signal < 0, -1, 1 - signal), "bib": np.where(signal < 0, -1, 0)}
    jets = jets.with_columns({COLUMN.format(name): values.astype(np.float32) for name, values in columns.items()})
    file = file_of(tmp_path / "jets.parquet", jets, data_type=DataType.DATA)
    settings = compare_settings(tmp_path, network, file, column=COLUMN)
    shown = jets_in(compare(settings.model_copy(update={"blind_above": ABOVE})))
    assert shown.second[:, Label.SIGNAL].max() <= ABOVE
    assert shown.first[:, Label.SIGNAL].max() <= ABOVE
    below = int((jets_in(compare(settings)).first[:, Label.SIGNAL] <= ABOVE).sum())
    assert 0 < len(shown) < below
    (left_out,) = shown.left_out.values()
    assert 0 < left_out <= 5
    with pytest.raises(InputFileError, match="no jet that both give a score"):
        compare(settings.model_copy(update={"blind_above": 0.0}))
