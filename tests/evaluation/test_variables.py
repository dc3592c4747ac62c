"""What a name means, and which numbers belong to it."""

import numpy as np
import pytest

from cal_ratio_trainer.errors import MissingColumn
from cal_ratio_trainer.evaluation.variables import COUNTS, Variable, find_variable, known_names, values_of
from cal_ratio_trainer.jets import CONSTITUENTS, Jets, Ragged
from cal_ratio_trainer.jets.schema import MISSING_T0


def three_jets() -> Jets:
    """Jets with 2, 0 and 1 clusters, the same numbers of segments; cluster pt 10, 20 and 30."""
    lists = {}
    for kind in CONSTITUENTS:
        values = np.arange(3 * len(kind.features), dtype=np.float32).reshape(3, -1)
        values[:, 0] = [10, 20, 30]
        lists[kind.name] = Ragged.from_lengths(values, np.array([2, 0, 1]))
    lists["muon_segments"].values[:, -1] = [5.0, MISSING_T0, np.nan]
    columns = {
        "label": [0, 1, 2],
        "jet_pt": [50.0, np.inf, 70.0],
        "jet_eta": np.zeros(3),
        "jet_phi": np.zeros(3),
        "mcEventWeight": [1.0, None, 2.0],
        "source_file": ["a", "b", "c"],
        "clean": [True, False, True],
    }
    return Jets.from_columns(columns, lists)


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("jet_pt", Variable("jet_pt", "jet_pt", "scalar")),
        ("jet_pT", Variable("jet_pt", "jet_pt", "scalar")),
        ("clus_pt", Variable("clus_pt", "clus_pt", "all")),
        ("clus_pt_0", Variable("clus_pt_0", "clus_pt", "slot", 0)),
        ("nn_MSeg_t0_1", Variable("MSeg_t0_1", "MSeg_t0", "slot", 1)),
        ("track_pT_19", Variable("track_pt_19", "track_pt", "slot", 19)),
        ("n_tracks", Variable("n_tracks", "n_tracks", "count")),
    ],
)
def test_old_and_new_names_are_understood(name: str, meant: Variable) -> None:
    assert find_variable([name], ["jet_pt"]) == meant


@pytest.mark.parametrize(
    "name", ["clus_pt_30", "track_pt_20", "clus_pt_x", "clus_pt_-1", "jet_mass", "", "_0", "clus_pt_²"]
)
def test_what_no_file_can_have_is_nothing(name: str) -> None:
    assert find_variable([name], ["jet_pt"]) is None


def test_the_first_name_that_the_file_has_counts() -> None:
    assert find_variable(["HT", "jet_ht", "jet_pt"], ["jet_pt", "jet_ht"]) == Variable("jet_ht", "jet_ht", "scalar")


def test_a_scalar_column_named_like_a_slot_is_that_column() -> None:
    assert find_variable(["clus_pt_0"], ["clus_pt_0"]) == Variable("clus_pt_0", "clus_pt_0", "scalar")


def test_every_known_name_is_found() -> None:
    assert all(find_variable([name], ["jet_pt"]) is not None for name in known_names(["jet_pt"]))


@pytest.mark.parametrize(
    ("name", "values", "owners"),
    [
        ("jet_pt", [50, 70], [0, 2]),
        ("mcEventWeight", [1, 2], [0, 2]),
        ("clean", [1, 0, 1], [0, 1, 2]),
        ("source_file", [], []),
        ("clus_pt", [10, 20, 30], [0, 0, 2]),
        ("clus_pt_0", [10, 30], [0, 2]),
        ("clus_pt_1", [20], [0]),
        ("clus_pt_2", [], []),
        ("n_clusters", [2, 0, 1], [0, 1, 2]),
        ("MSeg_t0", [5], [0]),
        ("MSeg_t0_1", [], []),
    ],
)
def test_values_are_those_that_are_known_finite_and_measured(name: str, values: list[float], owners: list[int]) -> None:
    jets = three_jets()
    variable = find_variable([name], jets.scalars.column_names)
    assert variable is not None
    found = values_of(variable, jets)
    np.testing.assert_array_equal(found.values, values)
    np.testing.assert_array_equal(found.jets, owners)


def test_a_column_that_is_not_there_is_named() -> None:
    with pytest.raises(MissingColumn, match="nothing"):
        values_of(Variable("nothing", "nothing", "scalar"), three_jets())


def test_no_jets_have_no_values() -> None:
    for name in ("jet_pt", "clus_pt", "clus_pt_0", "n_clusters"):
        variable = find_variable([name], ["jet_pt"])
        assert variable is not None
        assert len(values_of(variable, Jets.empty()).values) == 0


def test_there_is_a_number_of_constituents_for_each_kind() -> None:
    assert [variable.kind for variable in COUNTS] == list(CONSTITUENTS)
