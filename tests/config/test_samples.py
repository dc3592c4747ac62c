"""Tables of simulated samples, as users write them."""

from pathlib import Path

import pytest

from cal_ratio_trainer.config.build import SimulatedSample, read_samples
from cal_ratio_trainer.errors import InputFileError

MAPPING = """
364701: {cross_section_pb: 78.4e+6, filter_efficiency: 0.0244}
364702: {cross_section_pb: 2.43e+6, filter_efficiency: 0.00986, k_factor: 1.1, initial_sum_of_weights: 12.5}
"""
LIST = """
simulation: of a demo
samples:
- {name: jz1, mcChannelNumber: 364701, cross_section_pb: 2.0, filter_efficiency: 0.5, files: 3}
- {name: bib, files: 1}
- {name: sig, mcChannelNumber: 311314, mH_GeV: 125}
"""


def test_samples_by_number_or_as_rows_of_a_table(tmp_path: Path) -> None:
    file = tmp_path / "samples.yaml"
    file.write_text(MAPPING)
    found = read_samples(file)
    assert found[364701] == SimulatedSample(cross_section_pb=78.4e6, filter_efficiency=0.0244)
    assert found[364702].effective_pb == pytest.approx(2.43e6 * 0.00986 * 1.1)
    file.write_text(LIST)
    assert read_samples(file) == {364701: SimulatedSample(cross_section_pb=2.0, filter_efficiency=0.5)}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{}", "by their mcChannelNumber"),
        ("samples: 3", "by their mcChannelNumber"),
        ("jz1: {cross_section_pb: 1}", "'jz1' where the mcChannelNumber"),
        ("364701: {cross_section_pb: -1}", "sample 364701: cross_section_pb: should be above 0"),
        ("364701: {filter_efficiency: 1.5, cross_section_pb: 1}", "filter_efficiency: should be at most 1"),
        ("364701: 3", "sample 364701: it: should be a mapping, got 3"),
        ("364701: {cross_section_pb: 1, kfactor: 2}", "kfactor"),
        ("samples: [{cross_section_pb: 1}]", "a sample without mcChannelNumber"),
        ("samples: [3]", "list of samples"),
        ("samples: [{mcChannelNumber: 1, cross_section_pb: 1, k_faktor: 2}]", "did you mean k_factor"),
        (
            "samples: [{mcChannelNumber: 1, cross_section_pb: 1}, {mcChannelNumber: 1, cross_section_pb: 2}]",
            "a sample twice",
        ),
    ],
)
def test_what_is_wrong_in_a_table_is_said(tmp_path: Path, content: str, said: str) -> None:
    (tmp_path / "samples.yaml").write_text(content)
    with pytest.raises(InputFileError, match=said):
        read_samples(tmp_path / "samples.yaml")
