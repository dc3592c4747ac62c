"""The preparation of inputs as cards describe it is equal to that of `build`."""

import re

import numpy as np
import pytest

from cal_ratio_trainer.building.scaling import scale
from cal_ratio_trainer.formats.input_table import InputArray, input_arrays
from cal_ratio_trainer.formats.onnx_graph import Preprocessing
from cal_ratio_trainer.formats.probe_jets import drawn_jets, padded_inputs
from cal_ratio_trainer.jets.metadata import Scaling
from cal_ratio_trainer.network.shape import DEFAULT_SHAPE
from tests.formats.shapes import SHAPES

DIVIDED = re.compile(r"(\w+) / ([\d.]+)")
SHIFTED = re.compile(r"\((\w+) - ([\d.]+)\) / ([\d.]+)")


def arrays(scaling: Scaling, converted: bool = False) -> tuple[InputArray, ...]:
    """The inputs of the default network."""
    return input_arrays(DEFAULT_SHAPE, Preprocessing(scaling), (), converted)


def carried_out(array: InputArray, values: np.ndarray) -> np.ndarray:
    """Formulas of a card applied to converted values [jets, slots, inputs] or [jets, inputs]."""
    result = values.astype(np.float64)
    names = [number.name for number in array.numbers]
    layers = [i for i, number in enumerate(array.numbers) if "sum of the cluster's eight layers" in number.reads]
    for i, number in enumerate(array.numbers):
        if shifted := SHIFTED.fullmatch(number.reads):
            result[..., i] = (result[..., i] - float(shifted[2])) / float(shifted[3])
        elif divided := DIVIDED.fullmatch(number.reads):
            result[..., i] /= float(divided[2])
        elif i in layers:
            with np.errstate(invalid="ignore", divide="ignore"):
                result[..., i] = np.nan_to_num(values[..., i] / values[..., layers].astype(np.float64).sum(axis=-1))
        elif "negated where the sum of" in number.reads:
            eta, pt = (names.index(name) for name in re.findall(r"(\w+_eta) \* (\w+_pt)", number.reads)[0])
            side = (values[..., eta].astype(np.float64) * values[..., pt]).sum(axis=1, keepdims=True)
            result[..., i] *= np.where(side < 0, -1, 1)
        else:
            assert number.reads == number.name
    if array.empty_slot is not None:
        result[~values.any(axis=-1)] = array.empty_slot
    return result


@pytest.mark.parametrize("scaling", [Scaling(min_jet_pt=0, max_jet_pt=500), Scaling(min_jet_pt=40, max_jet_pt=300)])
def test_doing_what_the_card_says_gives_what_build_gives(scaling: Scaling) -> None:
    jets = drawn_jets(100)
    converted = padded_inputs(jets, DEFAULT_SHAPE).arrays
    expected = padded_inputs(scale(jets, scaling).jets, DEFAULT_SHAPE).arrays
    for array, values, wanted in zip(arrays(scaling), converted, expected, strict=True):
        assert values.shape[1:] == array.shape
        np.testing.assert_allclose(carried_out(array, values), wanted, rtol=1e-6, atol=1e-12)


def test_units_are_those_of_converted_files_and_the_order_is_said() -> None:
    clusters, tracks, segments, jet = arrays(Scaling(min_jet_pt=0, max_jet_pt=500))
    assert [number.unit for number in clusters.numbers[:4]] == [
        "MeV",
        "from the leading cluster",
        "rad from the leading cluster",
        "MeV",
    ]
    assert (clusters.order, tracks.order, segments.order) == ("highest pt first", "highest pt first", "as in the event")
    assert [number.name for number in jet.numbers] == ["jet_pt", "jet_eta", "jet_phi"]
    assert clusters.numbers[0].reads == "clus_pt / 500000"


def test_masses_come_last_everywhere_in_tev_and_only_with_the_jet_where_the_file_scales_itself() -> None:
    shape = SHAPES["two_masses"]
    preprocessing = Preprocessing(Scaling(min_jet_pt=0, max_jet_pt=500))
    names = ("llp_mH", "llp_mS")
    for array in input_arrays(shape, preprocessing, names, converted=False):
        assert [number.reads for number in array.numbers[-2:]] == ["llp_mH / 1000", "llp_mS / 1000"]
        assert array.shape[-1] == len(array.numbers)
        assert array.empty_slot is None or len(array.empty_slot) == len(array.numbers)
    *constituents, jet = input_arrays(shape, preprocessing, names, converted=True)
    assert [number.name for number in jet.numbers] == ["jet_pt", "jet_eta", "jet_phi", *names]
    assert [array.shape for array in constituents] == [(30, 12), (20, 10), (30, 6)]


def test_a_missing_time_and_a_padding_row_are_told() -> None:
    preprocessing = Preprocessing(Scaling(min_jet_pt=0, max_jet_pt=500), -3.5, {"muon_segments": (0, 0, 0, 0, 0, 0.25)})
    segments = input_arrays(DEFAULT_SHAPE, preprocessing, (), converted=False)[2]
    assert segments.numbers[5].reads == "MSeg_t0, -3.5 where it is 99999 (not measured)"
    assert segments.empty_slot == (0, 0, 0, 0, 0, 0.25)
