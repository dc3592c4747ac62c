"""Training files read in one pass give the same as complete tables that are cleaned and then cut."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from cal_ratio_trainer.config.training import TrainSettings
from cal_ratio_trainer.datasets.data import choose_training_data, load_whole_file, read_training_data
from cal_ratio_trainer.datasets.splits import Part
from cal_ratio_trainer.datasets.training_file import refuse_different_files, refuse_wrong_scale
from cal_ratio_trainer.errors import InputFileError
from cal_ratio_trainer.jets import Jets, Ragged
from cal_ratio_trainer.jets.cleaning import clean_for_training, with_missing_t0
from cal_ratio_trainer.jets.loading import read_jets
from cal_ratio_trainer.jets.metadata import Cuts, JetMetadata, Scaling
from cal_ratio_trainer.jets.schema import CLUSTERS, MISSING_T0, MUON_SEGMENTS
from cal_ratio_trainer.jets.store import RaggedFile, write_jets
from cal_ratio_trainer.network.batch import JetTensors
from tests.factories.files import write_flat
from tests.factories.jets import assert_same_constituents, assert_same_jets, synthetic_jets

SETTINGS = TrainSettings.make(sample_fraction=0.6, train_fraction=0.6, missing_t0=-1.0)


def odd_jets(labels: np.ndarray) -> Jets:
    """Jets that need cleaning: infinite times, angles beyond pi, times that were not measured, a NaN pt."""
    jets = synthetic_jets(labels, len(labels))
    clusters = jets.constituents["clusters"].values.copy()
    clusters[::50, CLUSTERS.position("time")] = np.inf
    clusters[::70, CLUSTERS.position("phi")] = 4.0
    segments = jets.constituents["muon_segments"].values.copy()
    segments[::5, MUON_SEGMENTS.position("t0")] = MISSING_T0
    changed = {"clusters": clusters, "muon_segments": segments}
    lists = {name: ragged.with_values(changed.get(name, ragged.values)) for name, ragged in jets.constituents.items()}
    pt = np.where(np.arange(len(jets)) == 3, np.nan, jets["jet_pt"])
    return Jets(jets.scalars, lists).with_columns({"jet_pt": pt})


@pytest.fixture(scope="module", params=["ragged", "flat", "pickle"])
def files(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A main and a control-region file of each format."""
    folder, rng = tmp_path_factory.mktemp("files"), np.random.default_rng(1)
    end = ".pkl" if request.param == "pickle" else ".parquet"
    write = write_jets if request.param == "ragged" else write_flat
    paths = folder / f"main{end}", folder / f"control{end}"
    write(paths[0], odd_jets(rng.integers(0, 3, 400)), JetMetadata(stage="built", kind="main"))
    write(paths[1], odd_jets(rng.choice([0, 2], 300)), JetMetadata(stage="built", kind="control"))
    return paths


def with_times(jets: Jets) -> Jets:
    return replace(jets, constituents=with_missing_t0(jets.constituents, -1.0)[0])


def prepared(file: Path) -> Jets:
    """All jets of a file, prepared as a complete table."""
    return with_times(clean_for_training(read_jets(file))[0])


def test_one_pass_gives_what_whole_tables_give(files: tuple[Path, Path]) -> None:
    chosen = choose_training_data(SETTINGS, *files)
    data, found = read_training_data(chosen)
    parts = [prepared(file).take(source.rows) for file, source in zip(files, chosen.sources, strict=True)]
    expected = JetTensors.from_jets(parts, torch.device("cpu"))
    assert torch.equal(found.jet, expected.jet)
    for name in expected.values:
        assert torch.equal(found.values[name], expected.values[name])
        np.testing.assert_array_equal(found.offsets[name], expected.offsets[name])
    for sample, jets in zip((data.main, data.control), parts, strict=True):
        assert_same_jets(sample.test_jets, jets.where(sample.part == Part.TEST))


def test_oddities_are_counted_over_all_jets_of_the_file_the_unused_ones_too(files: tuple[Path, Path]) -> None:
    data, _ = read_training_data(choose_training_data(SETTINGS, *files))
    jets = read_jets(files[0])
    report = clean_for_training(jets)[1]
    assert list(report.non_finite) == ["jet_pt", "clus_time"]
    times = jets.constituents["muon_segments"].values[:, MUON_SEGMENTS.position("t0")]
    replaced = f"{int((times == MISSING_T0).sum())} values of MSeg_t0 were not measured and became -1"
    assert list(data.main.notes)[-len(report.sentences()) - 1 :] == [*report.sentences(), replaced]


def test_all_jets_that_have_a_weight_come_whole(files: tuple[Path, Path]) -> None:
    assert_same_constituents(load_whole_file(SETTINGS, files[0], "main").test_jets, prepared(files[0]))


def with_filled_slots(jets: Jets) -> Jets:
    """The same jets with every empty slot as a constituent."""
    lists = {kind.name: jets.constituents[kind.name].filled(kind.limit) for kind in jets.schema.constituents}
    return Jets(jets.scalars, lists)


def test_where_padding_rows_differ_empty_slots_are_written_out(tmp_path: Path) -> None:
    rng, paths = np.random.default_rng(1), (tmp_path / "main.parquet", tmp_path / "control.parquet")
    main, control = synthetic_jets(rng.integers(0, 3, 200), 1), synthetic_jets(rng.choice([0, 2], 200), 2)
    lists = {name: Ragged(r.values, r.offsets, r.padding - 0.25) for name, r in control.constituents.items()}
    write_jets(paths[0], main, JetMetadata(stage="built", kind="main"))
    write_jets(paths[1], Jets(control.scalars, lists), JetMetadata(stage="built", kind="control"))
    chosen = choose_training_data(SETTINGS, *paths)
    data, found = read_training_data(chosen)
    parts = [prepared(file).take(source.rows) for file, source in zip(paths, chosen.sources, strict=True)]
    expected = JetTensors.from_jets([with_filled_slots(part) for part in parts], torch.device("cpu"))
    for name in expected.values:
        np.testing.assert_array_equal(found.values[name].numpy(), expected.values[name].numpy())
    tested = parts[1].where(data.control.part == Part.TEST)
    assert_same_constituents(data.control.test_jets, with_filled_slots(tested))


def test_a_file_that_changes_between_its_scalars_and_its_constituents_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "main.parquet"
    write_jets(path, synthetic_jets(np.arange(90) % 3, 1), JetMetadata(stage="built", kind="main"))

    whole = RaggedFile.lists

    def cut(self: RaggedFile) -> Iterator[object]:
        for lists in whole(self):
            yield {name: columns.where(np.arange(90) < 80) for name, columns in lists.items()}

    monkeypatch.setattr(RaggedFile, "lists", cut)
    with pytest.raises(InputFileError, match="was changed while it was read"):
        load_whole_file(SETTINGS, path, "main")


def test_jets_of_the_fold_that_is_left_out_are_neither_counted_nor_kept(tmp_path: Path) -> None:
    rng, paths = np.random.default_rng(1), (tmp_path / "main.parquet", tmp_path / "control.parquet")
    write_jets(paths[0], odd_jets(rng.integers(0, 3, 400)), JetMetadata(stage="built", kind="main"))
    write_jets(paths[1], odd_jets(rng.choice([0, 2], 300)), JetMetadata(stage="built", kind="control"))
    settings = SETTINGS.model_copy(update={"folds": 3, "fold": 1})
    chosen = choose_training_data(settings, *paths)
    data, found = read_training_data(chosen)
    seen = [read_jets(path) for path in paths]
    seen = [jets.where(jets["eventNumber"] % 3 != 1) for jets in seen]
    cleaned, report = clean_for_training(seen[0])
    assert set(report.sentences()) <= set(data.main.notes)
    parts = [
        with_times(clean_for_training(jets)[0]).take(source.rows)
        for jets, source in zip(seen, chosen.sources, strict=True)
    ]
    expected = JetTensors.from_jets(parts, torch.device("cpu"))
    for name in expected.values:
        np.testing.assert_array_equal(found.values[name].numpy(), expected.values[name].numpy())
    assert len(cleaned) > len(data.main.jets)


FILE = Path("main.parquet")


def built(
    scaling: tuple[float, float] | None = (0, 500), cuts: tuple[Cuts, ...] = (), unit: str = "GeV"
) -> JetMetadata:
    known = Scaling(min_jet_pt=scaling[0], max_jet_pt=scaling[1]) if scaling else None
    return JetMetadata(stage="built", scaling=known, cuts=list(cuts), units={"llp_mH": unit})


def jets_of(pt: float) -> Jets:
    jets = synthetic_jets(np.zeros(11, dtype=int), 1)
    return jets.with_columns({"jet_pt": np.full(11, pt, dtype=np.float32)})


@pytest.mark.parametrize("scaling", [(0, 500), None])
def test_pt_scaled_once_is_accepted_and_pt_scaled_twice_or_never_is_refused(
    scaling: tuple[float, float] | None,
) -> None:
    refuse_wrong_scale(FILE, jets_of(0.1), built(scaling))
    with pytest.raises(InputFileError, match=r"main.parquet: has a median jet_pt of 0.0002, .* scaled more than once"):
        refuse_wrong_scale(FILE, jets_of(0.1 / 500), built(scaling))
    with pytest.raises(InputFileError, match=r"median jet_pt of 50 .* not scaled; build it first"):
        refuse_wrong_scale(FILE, jets_of(50), built(scaling))


def test_a_range_that_begins_above_zero_gives_small_numbers_that_are_right() -> None:
    refuse_wrong_scale(FILE, jets_of(0.001), built((40, 500)))
    with pytest.raises(InputFileError, match="more than once"):
        refuse_wrong_scale(FILE, jets_of(-0.09), built((40, 500)))


def differences(main: JetMetadata, control: JetMetadata) -> str:
    with pytest.raises(InputFileError) as error:
        refuse_different_files(FILE, main, Path("control.parquet"), control)
    return str(error.value)


@pytest.mark.parametrize(("main", "control"), [("demo", None), (None, "demo"), ("demo", "toy")])
def test_jets_of_the_demo_are_not_mixed_with_others(main: str | None, control: str | None) -> None:
    first, second = (built().model_copy(update={"simulation": each}) for each in (main, control))
    said = differences(first, second)
    assert said.startswith("control.parquet: holds jets of another simulation")
    assert f"({control or 'no such simulation'}) than main.parquet ({main or 'no such simulation'})" in said


def test_files_that_were_made_alike_or_do_not_say_how_are_accepted() -> None:
    cuts = Cuts(min_jet_pt=40, max_jet_pt=500, max_abs_jet_eta=2.5)
    region = cuts.model_copy(
        update={"require_clean_jets": True, "max_jets_per_event": 2, "event_selection": {"a": "b"}}
    )
    for main, control in [
        (built(), built()),
        (built(), built(None)),
        (built(cuts=(cuts,)), built(cuts=(region,))),
        (built(cuts=(cuts,)), built()),
        (built(cuts=(cuts,)), built(cuts=(Cuts(),))),
    ]:
        refuse_different_files(FILE, main, Path("control.parquet"), control)


def test_all_differences_are_told_at_once() -> None:
    main = built(cuts=(Cuts(min_jet_pt=40, max_jet_pt=500, max_abs_jet_eta=2.5),))
    control = built((40, 500), (Cuts(min_jet_pt=60, max_jet_pt=500, max_abs_jet_eta=2.0),), unit="TeV")
    words = differences(main, control)
    assert words.startswith("control.parquet: was made differently from main.parquet")
    for said in (
        "scaled from 40 to 500 GeV, the main file from 0 to 500 GeV",
        "llp_mH in TeV, in the main file GeV",
        "min_jet_pt 60, in the main file 40",
        "max_abs_jet_eta 2, in the main file 2.5",
    ):
        assert said in words
