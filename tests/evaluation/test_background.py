from cal_ratio_trainer.evaluation.background import BIB_ONLY, QCD_AND_BIB, QCD_AND_TENTH_OF_BIB, mass_name
from cal_ratio_trainer.jets.labels import Label

from .jets import jets_on_signal_output


def test_a_class_that_takes_no_part_is_not_counted() -> None:
    jets = jets_on_signal_output([0.9], [0.1, 0.2], [0.3, 0.4, 0.5])
    assert (BIB_ONLY.count(jets, Label.QCD), BIB_ONLY.count(jets, Label.BIB)) == (0, 3)
    assert (QCD_AND_BIB.count(jets, Label.QCD), QCD_AND_BIB.count(jets, Label.BIB)) == (2, 3)


def test_the_compound_takes_a_tenth_of_bib() -> None:
    assert (QCD_AND_TENTH_OF_BIB.factor(Label.QCD), QCD_AND_TENTH_OF_BIB.factor(Label.BIB)) == (1.0, 0.1)


def test_masses_are_named_as_in_the_manuals_files() -> None:
    assert mass_name(1000) == "mH1000.0"
