"""Table of features."""

from cal_ratio_trainer.jets import CONSTITUENTS, DataType, Label
from cal_ratio_trainer.jets.schema import CLUSTERS, JET_INPUTS, TRACKS


def test_the_network_reads_12_10_and_6_numbers_of_30_20_and_30_constituents_and_3_of_the_jet() -> None:
    assert [(kind.limit, len(kind.inputs)) for kind in CONSTITUENTS] == [(30, 12), (20, 10), (30, 6)]
    assert JET_INPUTS == ("jet_pt", "jet_eta", "jet_phi")


def test_layer_4_of_the_electromagnetic_calorimeter_stands_before_that_of_the_hadronic_one() -> None:
    assert CLUSTERS.columns[9:11] == ("clus_l4ecal", "clus_l4hcal")


def test_pixel_shared_holes_and_hits_are_stored_and_not_read() -> None:
    unread = {TRACKS.features[i].name for i in range(len(TRACKS.features))} - {
        TRACKS.features[i].name for i in TRACKS.inputs
    }
    assert unread == {"PixelShared", "PixelHoles", "PixelHits"}


def test_names_on_disk_and_in_root_differ_where_they_do() -> None:
    assert TRACKS.columns[0] == "track_pt"
    assert TRACKS.branches[0] == "track_pT"
    assert CLUSTERS.flat_columns(29)[0] == "clus_pt_29"
    assert CLUSTERS.position("time") == 11


def test_control_region_data_share_the_number_of_beam_induced_background() -> None:
    assert [kind.label for kind in (DataType.QCD, DataType.SIGNAL, DataType.BIB, DataType.DATA)] == [0, 1, 2, 2]
    assert [label.output for label in Label] == ["qcd", "sig", "bib"]
    assert [kind.is_simulation for kind in DataType] == [True, True, False, False]
