"""Settings of the conversion, above all those of old configurations."""

import logging
from pathlib import Path

import pytest

from cal_ratio_trainer.config.convert import ConvertSettings
from cal_ratio_trainer.config.loading import load_settings
from cal_ratio_trainer.errors import ConfigError

OLD = """
input_files:
  - input_file: data/*311314*.root
    data_type: sig
    output_dir: signal
    mH: 125
    mS: 55
  - input_file: data/bib.root
    data_type: bib
    mH: 0
    mS: 0
  - data/qcd.root
output_path: somewhere
llp_mH: 0.0
llp_mS: 0.0
signal_branches: [jet_pT]
bib_branches: [jet_pT]
qcd_branches: [jet_pT]
rename_branches: {jet_pT: jet_pt}
"""


def test_a_configuration_of_the_earlier_program_is_read(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = tmp_path / "old.yaml"
    file.write_text(OLD)
    with caplog.at_level(logging.WARNING):
        settings = load_settings(ConvertSettings, file, {"data_type": "qcd"})
    first, second, third = settings.input_files
    assert (first.llp_mH, first.llp_mS, first.output_dir) == (125, 55, Path("signal"))
    assert (second.data_type, second.llp_mH, settings.llp_mH) == ("bib", None, None)
    assert (third.input_file, third.data_type) == ("data/qcd.root", None)
    for name in ("signal_branches", "bib_branches", "qcd_branches", "rename_branches"):
        assert any(f"{name} is ignored" in message for message in caplog.messages)


def test_a_wrong_name_in_an_entry_is_refused_with_the_nearest(tmp_path: Path) -> None:
    file = tmp_path / "old.yaml"
    file.write_text("input_files: [{input_file: a.root, llp_MH: 3}]")
    with pytest.raises(ConfigError, match="did you mean llp_mH"):
        load_settings(ConvertSettings, file)


def test_printed_settings_are_read_back(tmp_path: Path) -> None:
    (tmp_path / "old.yaml").write_text(OLD)
    settings = load_settings(ConvertSettings, tmp_path / "old.yaml")
    (tmp_path / "new.yaml").write_text(settings.as_yaml())
    assert load_settings(ConvertSettings, tmp_path / "new.yaml") == settings


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"min_jet_pt": 500}, r"min_jet_pt \(500\) must be below max_jet_pt \(500\)"),
        ({"layout": "flat", "keep_branches": ["mu"]}, "keep_branches needs the ragged layout"),
        ({"data_type": "signal"}, "data_type"),
        ({"llp_mH": -1}, "llp_mH"),
    ],
)
def test_settings_that_do_not_fit_are_refused(given: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        load_settings(ConvertSettings, None, given)
