"""The test jets that a run left, scored anew with any of its networks: no training file is needed."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray

from cal_ratio_trainer.config.training import TrainSettings
from cal_ratio_trainer.datasets.data import load_whole_file
from cal_ratio_trainer.datasets.splits import FOLD, FoldRule, SetRule, UIntArray, event_words
from cal_ratio_trainer.datasets.training_file import refuse_other_scaling
from cal_ratio_trainer.datasets.weights import WeightArray, file_weights, parametrised_masses
from cal_ratio_trainer.errors import InputFileError
from cal_ratio_trainer.evaluation.ks import PtRange
from cal_ratio_trainer.evaluation.scored import FloatArray, ScoredJets
from cal_ratio_trainer.evaluation.sculpting import cluster_mass_and_width
from cal_ratio_trainer.jets import Jets, Label
from cal_ratio_trainer.jets.labels import CONTROL_DATA
from cal_ratio_trainer.jets.loading import open_jets
from cal_ratio_trainer.jets.metadata import LEGACY_SCALING, DataTaking, JetMetadata, Scaling
from cal_ratio_trainer.jets.store import write_jets
from cal_ratio_trainer.network.batch import JetTensors
from cal_ratio_trainer.runs.figure_data import ranges_of
from cal_ratio_trainer.runs.networks import Networks
from cal_ratio_trainer.runs.stored import RunError

MAIN_FILE, CONTROL_FILE = "test_sample.parquet", "control_test_sample.parquet"
JUDGED_FILE = "judged_test_sample.parquet"
"""Test jets of control regions that are judged only."""

REGION = "control_region"
"""Column with the name of each jet's control region, where there are several or where they are judged only."""

_WEIGHT = "evaluation_weight"
_TOLD_APART_BY = ("label", "jet_pt", "jet_eta", "jet_phi", _WEIGHT)

_OVERWRITTEN = ("weight", _WEIGHT)
"""Columns of a test sample in which the file's own weights do not stand any more."""


@dataclass(frozen=True, eq=False)
class TestJets:
    """One of the files: its jets and its metadata."""

    file: Path
    jets: Jets
    metadata: JetMetadata

    # pytest collects classes named Test...; this one holds no tests.
    __test__ = False

    @classmethod
    def read(cls, file: Path) -> "TestJets":
        """Reads a file.

        Raises:
            InputFileError, MissingColumn: there is none, or it is damaged, empty or without what is needed.
        """
        opened = open_jets(file)
        jets = opened.load()
        if len(jets) == 0:
            raise InputFileError(file, "holds no jets")
        # Raises where one is missing.
        for name in _TOLD_APART_BY:
            jets[name]
        return cls(file, jets, opened.metadata)

    @property
    def data_taking(self) -> DataTaking:
        """Origin of the jets, for the heading of figures."""
        known = "runNumber" in self.jets
        runs = self.jets.scalars.column("runNumber").to_numpy() if known else None
        return DataTaking.of_jets(self.jets["label"], runs, self.metadata.simulation)

    def without_jets(self) -> "TestJets":
        """The same file with no jets: stands for the control region of a training without one."""
        return replace(self, jets=self.jets.slice(0, 0))

    @property
    def weights(self) -> NDArray[np.float64]:
        """[jets] as figures of merit use them."""
        weights: NDArray[np.float64] = self.jets[_WEIGHT].astype(np.float64)
        return weights

    @property
    def padding(self) -> dict[str, NDArray[np.float32]]:
        """For each kind of constituent what stands in an empty slot, [features]."""
        return {name: ragged.padding for name, ragged in self.jets.constituents.items()}

    @cached_property
    def events(self) -> UIntArray:
        """[jets] a number that all jets of an event share."""
        return event_words(self.jets)[0]

    @cached_property
    def regions(self) -> tuple[tuple[str, ...], NDArray[np.int32] | None]:
        """Names of the control regions, and the number of each jet's, [jets]; none and None without that column."""
        if REGION not in self.jets:
            return (), None
        encoded = self.jets.scalars.column(REGION).cast(pa.string()).combine_chunks().dictionary_encode()
        if encoded.null_count:
            raise InputFileError(self.file, f"has jets whose {REGION} is not known")
        return tuple(encoded.dictionary.to_pylist()), encoded.indices.to_numpy()

    def scored_control(self, scores: FloatArray) -> ScoredJets:
        """Its jets as those of control regions, with scores [jets, 3]."""
        names, region = self.regions
        return ScoredJets.control(
            scores=scores,
            is_data=np.asarray(self.jets.label == CONTROL_DATA),
            weights=self.weights,
            scaled_pt=self.jets["jet_pt"],
            events=self.events,
            region_names=names,
            region=region,
        )


@dataclass(frozen=True, eq=False)
class RunSample:
    """The test part of both files of a run.

    Attributes:
        main: signal, QCD and BIB.
        control: data and multijet MC; empty for a training without control region.
        settings: of the training: what its network reads, and of which jets.
        device: device of the networks.
        judged: control regions that are judged only; None without any.
    """

    main: TestJets
    control: TestJets
    settings: TrainSettings
    device: torch.device
    judged: TestJets | None = None

    @classmethod
    def read(cls, folder: Path, settings: TrainSettings, device: torch.device | None = None) -> "RunSample":
        """Reads the files in the folder of a run; see `Run.test_sample`."""
        main = TestJets.read(folder / MAIN_FILE)
        without = settings.cr_training_file is None
        control = main.without_jets() if without else TestJets.read(folder / CONTROL_FILE)
        judged = TestJets.read(folder / JUDGED_FILE) if settings.judged_files else None
        return cls(main, control, settings, device or torch.device("cpu"), judged)

    @classmethod
    def of_files(
        cls,
        main_file: Path,
        control_file: Path,
        settings: TrainSettings,
        scaling: Scaling = LEGACY_SCALING,
        device: torch.device | None = None,
    ) -> "RunSample":
        """All jets of a main training file and of a control region, for networks whose test jets are not known.

        Args:
            main_file, control_file: as a training takes them.
            settings: of the training: weights, masses, what its network reads.
            scaling: that its network wants.
            device: device of the networks; None for the CPU.

        Raises:
            InputFileError, MissingColumn: a file cannot be used; says which and why.
        """
        # All jets are judged, those of the fold that a network of a set leaves out above all.
        reading = settings.model_copy(update={"folds": None, "fold": None})
        loaded = [
            load_whole_file(reading, file, kind) for file, kind in ((main_file, "main"), (control_file, "control"))
        ]
        parts = []
        for sample in loaded:
            refuse_other_scaling(sample.file, sample.metadata.scaling, scaling, "build it anew with that range")
            jets = sample.test_jets.with_columns({_WEIGHT: sample.weight})
            parts.append(TestJets(sample.file, jets, sample.metadata))
        return cls(parts[0], parts[1], settings, device or torch.device("cpu"))

    @property
    def pt_ranges(self) -> tuple[PtRange, ...]:
        """The ranges of jet pt in which the training compares data and MC."""
        return ranges_of(self.settings.pt_ranges, self.control.metadata.scaling)

    @cached_property
    def cluster_shapes(self) -> tuple[FloatArray, FloatArray] | None:
        """Mass and width of the clusters of the main jets; see `cluster_mass_and_width`."""
        return cluster_mass_and_width(self.main.jets, self.main.metadata.scaling or LEGACY_SCALING)

    @cached_property
    def checksum(self) -> str:
        """Checksum of labels, kinematics and weights of the jets, 16 digits: equal for equal test parts."""
        digest = hashlib.sha256()
        for part in (self.main, self.control):
            for name in _TOLD_APART_BY:
                digest.update(np.ascontiguousarray(part.jets[name]).tobytes())
        return digest.hexdigest()[:16]

    def scored_by(self, networks: Networks) -> tuple[ScoredJets, ScoredJets]:
        """Main and control jets with the scores of the networks of a run, in inference mode.

        A network with parametrised masses reads the signal's own; any other jet is given those of a signal jet of the
        test part, drawn with the run's seed. (The training draws from its own part, so its figures differ a little.)

        Raises:
            RunError: see `check_masses`.
        """
        self.check_masses(networks)
        networks = networks.to(self.device)
        parts = zip((self.main, self.control), self.tensors, strict=False)
        main, control = (networks.scores(part.jets, tensors, part.file) for part, tensors in parts)
        return (
            scored_jets(self.main.jets.scalars, main, self.main.weights, self.main.metadata),
            self.control.scored_control(control),
        )

    def check_masses(self, networks: Networks) -> None:
        """Raises RunError if the networks read another number of masses than the settings say."""
        columns = self.settings.parametrised_masses
        if networks.shape.masses != len(columns):
            raise RunError(
                f"{self.main.file.parent} has a network that reads {networks.shape.masses} masses, but settings for "
                f"{len(columns)}"
            )

    def judged_by(self, networks: Networks) -> ScoredJets | None:
        """The same of the control regions that are judged only; None without any."""
        if self.judged is None:
            return None
        scores = networks.to(self.device).scores(self.judged.jets, self.tensors[2], self.judged.file)
        return self.judged.scored_control(scores)

    @cached_property
    def tensors(self) -> list[JetTensors]:
        """Inputs of the networks, on their device: of main, control and judged jets."""
        samples = [each.jets for each in (self.main, self.control, self.judged) if each is not None]
        columns, seed = self.settings.parametrised_masses, self.settings.seed
        drawn = parametrised_masses(samples, columns, seed, self._trained_on())
        starts = np.cumsum([len(jets) for jets in samples])[:-1]
        masses = [None] * len(samples) if drawn is None else np.split(drawn, starts)
        return [JetTensors.from_jets([jets], self.device, of) for jets, of in zip(samples, masses, strict=True)]

    def _trained_on(self) -> NDArray[np.bool_] | None:
        """True for test jets with masses that were trained on, [jets]; None for all."""
        if self.settings.masses == "all":
            return None
        wanted = self.settings.low_masses if self.settings.masses == "low" else self.settings.high_masses
        jets = self.main.jets
        return np.asarray((jets.label != Label.SIGNAL) | np.isin(jets["llp_mH"], wanted))


def sample_of_set(
    folder: Path, members: Sequence[Path], rule: SetRule, settings: TrainSettings, device: torch.device
) -> RunSample:
    """The test jets of a set of networks: every jet that the split puts in a test part, once.

    All members of an ensemble have the same test jets. Of a fold set, a jet of fold j is in the test part of all
    networks but j. Its features are taken from one of those; it is scored by network j, which has not seen its event.

    Args:
        folder: folder of the set.
        members: folders of its networks.
        rule: of the set.
        settings: of the set.
        device: device of the networks.

    Raises:
        UserError: a file is missing, damaged, or not what it should be.
    """
    if not isinstance(rule, FoldRule):
        return RunSample.read(members[0], settings, device)

    def joined(name: str) -> TestJets:
        return _joined(folder / name, [TestJets.read(each / name) for each in members], rule, settings)

    main = joined(MAIN_FILE)
    control = main.without_jets() if settings.cr_training_file is None else joined(CONTROL_FILE)
    judged = joined(JUDGED_FILE) if settings.judged_files else None
    return RunSample(main, control, settings, device, judged)


def write_sample_of_set(
    sample: RunSample, networks: Networks, folder: Path, name: str
) -> tuple[ScoredJets, ScoredJets, ScoredJets | None]:
    """Scores main, control and judged jets, writes all files to the folder of the named set, and returns the scores."""
    main, control = sample.scored_by(networks)
    judged = sample.judged_by(networks)
    for part, scored in ((sample.main, main), (sample.control, control), (sample.judged, judged)):
        if part is None or scored is None or not len(part.jets):
            continue
        scores = scored.scores
        columns = {f"jet_nn_{label.output}": scores[:, label] for label in Label}
        of_what = "fold set" if networks.fold_rule else "ensemble"
        by = "the newest network of its fold" if networks.fold_rule else "its newest networks, whose mean is taken"
        note = f"test part of the {of_what} {name}, each jet scored by {by}"
        metadata = part.metadata.model_copy(update={"notes": [note]})
        write_jets(folder / part.file.name, part.jets.with_columns(columns), metadata)
    return main, control, judged


def _joined(file: Path, left: Sequence[TestJets], rule: FoldRule, settings: TrainSettings) -> TestJets:
    parts = []
    for fold in range(rule.count):
        source = left[(fold + 1) % rule.count]
        folds = rule.folds_of(source.jets, source.file)
        parts.append(source.jets.where(folds == fold).with_columns({FOLD: folds[folds == fold]}))
    joined = TestJets(file, Jets.concatenate(parts), left[0].metadata)
    return replace(joined, jets=joined.jets.with_columns({_WEIGHT: _on_one_scale(joined, settings)}))


def _on_one_scale(joined: TestJets, settings: TrainSettings) -> WeightArray:
    """Weights for figures of merit, [jets].

    Each network scaled QCD to the signal, and MC to the data, of its own jets. Here a class gets one factor for all
    folds, so that jets of one class (of one control region) count among each other as in the file.
    """
    jets, file, stored = joined.jets, joined.file, joined.weights
    if settings.weight_column in _OVERWRITTEN:
        return stored
    raw = file_weights(jets, settings.weight_column, settings.bad_weights, str(file))
    if not np.isfinite(raw).all():
        raise InputFileError(file, f"has jets whose {settings.weight_column} is not known")
    names, region = joined.regions
    groups = jets.label if region is None else jets.label.astype(np.int64) * len(names) + region
    factors = np.ones_like(raw)
    for group in np.unique(groups):
        mine = groups == group
        total = raw[mine].sum()
        factors[mine] = stored[mine].sum() / total if total else 1.0
    return raw * factors


def scored_jets(jets: pa.Table, scores: FloatArray, weights: FloatArray, metadata: JetMetadata) -> ScoredJets:
    """Main jets with masses and kinematics, as far as the file knows them.

    Args:
        jets: scalar columns of built jets.
        scores: [jets, 3] in the order of `Label`.
        weights: [jets].
        metadata: its scaling gives the jets' pt in GeV back; 0-500 GeV where the file has none.
    """
    masses = {"mH": _known(jets, "llp_mH"), "mS": _known(jets, "llp_mS")}
    known = {name: values for name, values in masses.items() if values is not None}
    columns = {**known, **jet_kinematics(jets, metadata.scaling)}
    return ScoredJets(scores, jets.column("label").to_numpy(), weights, columns)


def jet_kinematics(jets: pa.Table, scaling: Scaling | None) -> dict[str, FloatArray]:
    """Columns of kinematics and truth of built jets, see `ScoredJets`; those that a file has, NaN for a null.

    Args:
        jets: scalar columns.
        scaling: the range of pt that became 0-1; None for 0-500 GeV.
    """
    scaling = scaling or LEGACY_SCALING
    width = scaling.max_jet_pt - scaling.min_jet_pt
    names = {"jet_pt": "pt", "jet_eta": "eta", "jet_phi": "phi", "llp_eta": "llp_eta", "llp_Lxy": "llp_lxy"}
    found = {ours: _known(jets, name) for name, ours in (names | {"llp_Lz": "llp_lz"}).items()}
    known = {name: values for name, values in found.items() if values is not None}
    if "pt" in known:
        known["pt"] = known["pt"] * np.float32(width) + np.float32(scaling.min_jet_pt)
    return known


def _known(jets: pa.Table, name: str) -> FloatArray | None:
    if name not in jets.column_names:
        return None
    # A column of integers, or of nulls alone, becomes one of floats.
    values: NDArray[np.float32] = np.asarray(jets.column(name).to_numpy(), dtype=np.float32)
    return values
