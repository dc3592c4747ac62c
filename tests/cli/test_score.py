"""Arguments of `cr_trainer score` and `cr_trainer compare`."""

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from cal_ratio_trainer.cli.main import cr_trainer
from cal_ratio_trainer.errors import ConfigError
from cal_ratio_trainer.jets import Label
from tests.factories.files import write_converted
from tests.factories.jets import mixed_jets
from tests.factories.networks import write_network


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network without a run."""
    return write_network(tmp_path_factory.mktemp("network") / "small.keras")


def call(*words: Any) -> tuple[int, str]:
    """Exit status and output."""
    result = CliRunner().invoke(cr_trainer(), [str(word) for word in words], standalone_mode=False)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.return_value or 0, result.output


def test_the_last_word_is_the_network(network: Path, tmp_path: Path) -> None:
    files = [write_converted(tmp_path / f"{name}.parquet", mixed_jets(20)) for name in ("a", "b")]
    status, said = call("score", *files, network, "--output_report", tmp_path / "out" / "page.md")
    assert status == 0
    assert f"{files[0]}: 20 jets (20 unknown)" in said
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"a.parquet", "b.parquet", "page.md", "page.html", "page_figures", ".page_figures.json"}


def test_a_network_that_is_named_otherwise_leaves_all_words_to_the_files(network: Path, tmp_path: Path) -> None:
    file = write_converted(tmp_path / "a.parquet", mixed_jets(20))
    out = ("--output_report", tmp_path / "out" / "page.md")
    assert call("score", file, "--training", network, *out)[0] == 0
    config = tmp_path / "score.yaml"
    config.write_text(f"training: {network}\n")
    assert call("score", file, "--config", config, *out)[0] == 0


def test_a_file_without_a_network_is_told_to_be_taken_for_one(tmp_path: Path) -> None:
    file = write_converted(tmp_path / "a.parquet", mixed_jets(20))
    with pytest.raises(ConfigError, match=r"no files of jets are given, only .*a\.parquet, which is read as"):
        call("score", file)


def test_a_failed_file_among_others_is_status_1(network: Path, tmp_path: Path) -> None:
    good = write_converted(tmp_path / "good.parquet", mixed_jets(20))
    bad = tmp_path / "bad.parquet"
    bad.write_text("none")
    status, said = call("score", good, bad, network, "--output_report", tmp_path / "out" / "page.md")
    assert status == 1
    assert f"{bad}: failed" in said


def test_settings_can_be_printed_without_any_words() -> None:
    assert "output_report: score_report/report.md" in call("score", "--print_settings")[1]
    assert "output_report: compare_report/report.md" in call("compare", "--print_settings")[1]


def test_compare_takes_two_networks_or_a_network_and_columns(network: Path, tmp_path: Path) -> None:
    scores = {f"jet_nn_x_{label.output}": [0.2, 0.5, 0.3][label] * (mixed_jets(20)["jet_pt"] > 0) for label in Label}
    file = write_converted(tmp_path / "a.parquet", mixed_jets(20).with_columns(scores))
    out = ("--output_report", tmp_path / "out" / "page.md", "--replicas", 5)
    status, said = call("compare", network, network, file, *out)
    assert status == 0
    assert "largest output the same for 100.00 %" in said
    status, said = call("compare", network, file, "--column", "jet_nn_x_{}", *out)
    assert status == 0
    assert "No single change of the inputs" in said
