"""Settings of `cr_trainer train`, in groups: run, optimisation, agreement, network, data, output, figures.

Files, flags and the Python API know them without groups. `learning` has the groups of the network.
"""

import math
import re
from pathlib import Path
from typing import Any, ClassVar, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from cal_ratio_trainer.config.base import MAX_PROCESSES, FigureSettings, ModelName, RunsFolder, Settings
from cal_ratio_trainer.config.learning import (
    ADVERSARY,
    DEFAULT_STRENGTHS,
    NO_AGREEMENT,
    AgreementSettings,
    NetworkSettings,
    OptimisationSettings,
)
from cal_ratio_trainer.config.regions import (
    ControlRegions,
    RegionShares,
    files_by_region,
    named_regions,
    refuse_unfit_regions,
)

DEMO = "demo"
"""Name of the demo data set in place of a training file; it is made when it is first needed."""

MLFLOW_ADDRESS = r"(https?|file|sqlite|postgresql|mysql|mssql|databricks)(\+\w+)?:|databricks$"
"""Beginning of an address for MLflow; any other text is a folder."""

MainPart = Literal["validation", "test"]
"""Part of the main jets that the score plots of every epoch show."""


class RunSettings(Settings):
    """Name and place of a run, its training files and its beginning."""

    profile: Literal["manual", "best"] = Field(
        default="manual",
        description="Defaults of the other settings: 'manual' is the recipe of the earlier program, 'best' the one "
        "that gave the best networks in measurements.",
    )
    model_name: ModelName = Field(default="default", description="Name of the model, and of the folder of its runs.")
    main_training_file: str = Field(
        default="demo", description="Signal, QCD and BIB jets: a path, file:// or any other fsspec URL, or 'demo'."
    )
    cr_training_file: ControlRegions = Field(
        default="demo",
        description="Control-region multijets, MC and data: a path, file:// or any other fsspec URL, or 'demo'. "
        "Several regions: NAME=FILE, once for each. Null trains without a control region, which needs agreement "
        "'none'; it is then the default if main_training_file is given.",
        json_schema_extra={"repeated": "[NAME=]FILE"},
    )
    cr_shares: RegionShares = Field(
        default=None,
        description="Share of each of several control regions in the loss of the agreement: NAME=NUMBER, once for "
        "each; null: equal shares. [1]",
        json_schema_extra={"repeated": "NAME=NUMBER"},
    )
    cr_judge_file: ControlRegions = Field(
        default=None,
        description="Further control regions, given like cr_training_file: K-S and C2ST are computed in them, but "
        "nothing is trained on them.",
        json_schema_extra={"repeated": "[NAME=]FILE"},
    )
    output_path: RunsFolder = Path("training_results")
    tag: str | None = Field(
        default=None, description="A word to find the run by, in run.json and in the table of runs."
    )
    note: str | None = Field(default=None, description="A sentence on the purpose of the run, shown beside the tag.")
    cache_path: Path | None = Field(
        default=None,
        description="Folder for copies of remote files and for the demo data; null: the user's cache folder.",
    )
    seed: int = Field(
        default=1,
        ge=0,
        lt=2**63,
        description="Seed of all random numbers: split, sampling, weights, dropout, order. [1]",
    )

    start_from: str | None = Field(
        default=None,
        description="Network whose weights the training starts from, with fresh optimisers: NAME/RUN, NAME/RUN/EPOCH, "
        "or a .keras or .safetensors file; null: random weights. With folds, a fold set; with seeds, an ensemble, or "
        "one network for all members.",
    )

    @field_validator("tag")
    @classmethod
    def _is_a_word(cls, given: str | None) -> str | None:
        if given is not None and given.split() != [given]:
            raise ValueError(f"should be one word, got {given!r}")
        return given

    @property
    def control_files(self) -> dict[str, str]:
        """Files of the control regions to train on, by the names of the regions; 'control' without a name."""
        return files_by_region(self.cr_training_file, "control")

    @property
    def judged_files(self) -> dict[str, str]:
        """Files of the control regions that are judged only, by the names of the regions; 'judged' without a name."""
        return files_by_region(self.cr_judge_file, "judged")

    @property
    def control_shares(self) -> tuple[float, ...]:
        """Shares of the control regions in the loss of the agreement, in order; their sum is 1."""
        shares = [1.0 if self.cr_shares is None else self.cr_shares[name] for name in self.control_files]
        return tuple(share / sum(shares) for share in shares)


class DataSettings(Settings):
    """Choice, division and weights of the jets."""

    sample_fraction: float = Field(
        default=0.5, gt=0, le=1, description="Share of the jets of both files that is used. [fraction]"
    )
    train_fraction: float = Field(
        default=0.9,
        gt=0,
        lt=1,
        description="Share of the events to train on; the rest is half validation, half test. [fraction]",
    )
    split: Literal["event", "row"] = Field(
        default="event",
        description="Split by event, so that all jets of an event are in one part, or by row as the earlier program "
        "did.",
    )
    folds: int | None = Field(
        default=None,
        ge=2,
        le=100,
        description="Number of networks of a fold set: network i never reads events whose eventNumber % folds is i, "
        "and is used on exactly these. Null trains one network on all events. [networks]",
    )
    fold: int | None = Field(
        default=None, ge=0, description="Train only the network of this fold; null trains all of them. [1]"
    )
    seeds: int | None = Field(
        default=None,
        ge=2,
        le=100,
        description="Number of networks of an ensemble, trained on the same split: member i has the seed of the run + "
        "i for its weights, order of jets and dropout. Null trains one network. [networks]",
    )
    member: int | None = Field(
        default=None, ge=0, description="Train only this member of the ensemble; null trains all of them. [1]"
    )
    reshuffle: bool = Field(default=True, description="Draw new mini-batches in each epoch.")
    include_low_mass: bool = Field(
        default=True, description="Train on the low mediator masses; given alone, on these only."
    )
    include_high_mass: bool = Field(
        default=True, description="Train on the high mediator masses; given alone, on these only."
    )
    low_masses: list[float] = Field(
        default=[60.0, 125.0, 200.0], description="Mediator masses that count as low. [GeV]"
    )
    high_masses: list[float] = Field(
        default=[400.0, 600.0, 1000.0], description="Mediator masses that count as high. [GeV]"
    )

    loss_weights: Literal["file", "balanced", "none"] = Field(
        default="file",
        description="Weights in the main loss: those of the file, those of the file with the same sum for every class, "
        "or all 1.",
    )
    weight_column: str = Field(default="mcEventWeight", description="Column with the weights of the jets.")
    bad_weights: Literal["error", "drop", "abs", "keep"] = Field(
        default="error",
        description="Negative or non-finite weights: refuse the file, drop the jets, take absolute values (and drop "
        "non-finite ones), or keep negative ones as they are.",
    )
    missing_t0: float | None = Field(
        default=None,
        description="Input value for muon segments whose time was not measured (99999); null leaves it as it is. [ns]",
    )

    @property
    def masses(self) -> Literal["all", "low", "high"]:
        """Signal masses to train on; both or neither of the two settings means all."""
        if self.include_low_mass == self.include_high_mass:
            return "all"
        return "low" if self.include_low_mass else "high"


class OutputSettings(Settings):
    """Results of a training, and the machine that computes them."""

    keep_weights: Literal["rule", "all"] = Field(
        default="rule",
        description="Keep the weights of epochs that pass the K-S rule, of the best and of the newest ones, or of all "
        "epochs.",
    )
    ks_limit: float = Field(
        default=0.3, gt=0, description="An epoch passes the K-S rule if its BIB K-S sum is below this. [1]"
    )
    c2st_every: int = Field(
        default=5,
        ge=0,
        description="Number of epochs from one C2ST to the next: a classifier is trained to tell control data from MC, "
        "on the validation part, also after the last epoch; at the end on the test part. 0: never. [epochs]",
    )
    pt_ranges: list[float] = Field(
        default=[0.25, 0.5],
        min_length=2,
        max_length=2,
        description="Edges of scaled jet pt between the low, mid and high K-S ranges. [1]",
    )
    threads: int | None = Field(
        default=None,
        ge=1,
        le=MAX_PROCESSES,
        description="CPU threads of a process; null: all cores, or its share if several processes use them. [threads]",
    )
    device: Literal["auto", "cpu", "cuda"] = Field(
        default="auto", description="Device of the training; auto takes a GPU if there is one."
    )
    data_place: Literal["auto", "device", "host", "disk"] = Field(
        default="auto",
        description="Place of the jets' constituents during the training: on the device, in the host's memory, or on "
        "disk, in unnamed files under cache_path; auto takes the first that has room.",
    )
    engine: Literal["auto", "reference", "torch", "numba", "triton"] = Field(
        default="auto",
        description="Code that computes the network; auto takes the fastest for the device: numba or triton.",
    )
    matmul_precision: Literal["ieee", "tf32"] = Field(
        default="ieee",
        description="Rounding of matrix products on a GPU: that of single precision (ieee), or 10 bits of mantissa, "
        "which is faster (tf32).",
    )
    cuda_graph: bool = Field(
        default=True,
        description="On a GPU with Triton, record a step once and replay it; otherwise its kernels are started one by "
        "one.",
    )
    epoch_plots: bool = Field(
        default=True,
        description="Draw the 18 score plots of every epoch; without them, plot --run can draw them later.",
    )
    epoch_plots_of: MainPart = Field(
        default="validation",
        description="Part of the main jets in the score plots of every epoch: validation, or the manual's test part, "
        "by which no epoch may be chosen.",
    )
    plot_processes: int | None = Field(
        default=None,
        ge=0,
        le=MAX_PROCESSES,
        description="Largest number of processes that draw plots during the training; null: half of the cores; 0: the "
        "training draws them itself. [processes]",
    )
    tensorboard: bool = Field(
        default=True,
        description="Write history, figures and settings for TensorBoard, if it is installed (extra 'tensorboard').",
    )
    mlflow: str | None = Field(
        default=None,
        description="Folder, or address of a tracking server or database, for a copy of the run in MLflow (extra "
        "'mlflow'); null: none.",
    )

    @field_validator("mlflow")
    @classmethod
    def _is_an_address(cls, given: str | None) -> str | None:
        if given is None:
            return None
        is_address = re.match(MLFLOW_ADDRESS, given)
        if not given.strip() or (not is_address and ("://" in given or "?" in given)):
            raise ValueError(
                "should be a folder, or an address that begins with https:, sqlite:, postgresql: or the like"
            )
        if is_address and (urlsplit(given).password or (given.startswith("http") and urlsplit(given).username)):
            raise ValueError(
                "should have no password, since settings are written into the run's files; MLflow reads it from "
                "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN"
            )
        return given


class TrainSettings(
    FigureSettings,
    OutputSettings,
    DataSettings,
    NetworkSettings,
    AgreementSettings,
    OptimisationSettings,
    RunSettings,
):
    """Settings of `cr_trainer train`."""

    aliases: ClassVar[dict[str, str]] = {
        "lr_values": "learning_rate",
        "filters_cnn_constit": "cluster_filters",
        "filters_cnn_track": "track_filters",
        "filters_cnn_MSeg": "muon_segment_filters",
        "nodes_constit_lstm": "cluster_lstm_nodes",
        "nodes_track_lstm": "track_lstm_nodes",
        "nodes_MSeg_lstm": "muon_segment_lstm_nodes",
        "frac_list": "sample_fraction",
        "reg_values": "regularization",
        "dropout_array": "dropout",
        "layers_list": "lstm_layers",
        "data_cache": "cache_path",
        "runs_path": "output_path",
        "domain_loss": "agreement",
    }

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if (self.num_splits is None) == (self.batch_size is None):
            how_many = "neither is" if self.num_splits is None else "both are"
            raise ValueError(f"num_splits or batch_size must be given, one of them; {how_many}")
        if not 0 < self.pt_ranges[0] < self.pt_ranges[1]:
            raise ValueError(f"pt_ranges must rise from above 0, got {self.pt_ranges}")
        if self.fold is not None and self.folds is None:
            raise ValueError(
                f"--fold {self.fold} trains one network of a set: add --folds with the number of all networks"
            )
        if self.fold is not None and self.folds is not None and self.fold >= self.folds:
            raise ValueError(f"fold goes from 0 to {self.folds - 1} with {self.folds} folds, got {self.fold}")
        if self.seeds is not None and self.folds is not None:
            raise ValueError("folds and seeds make sets of networks of different kinds; give one of the two")
        if self.member is not None and not (self.seeds and self.member < self.seeds):
            wanted = "add --seeds" if self.seeds is None else f"members go from 0 to {self.seeds - 1}"
            raise ValueError(f"--member {self.member} trains one network of an ensemble: {wanted}")
        if self.cr_training_file is None and self.has_agreement:
            raise ValueError(
                f"agreement {self.agreement} needs a control region: give cr_training_file, or agreement none"
            )
        refuse_unfit_regions(self.control_files, self.judged_files, self.cr_shares)
        both = set(self.low_masses) & set(self.high_masses)
        if both:
            raise ValueError(f"mH {min(both):g} stands in low_masses and in high_masses")
        if self.agreement_strength is None and self.has_agreement:
            # A run stores the number, so that it goes on when the default of a method changes. Not by `model_copy`:
            # the setting does not count as given.
            self.__dict__["agreement_strength"] = DEFAULT_STRENGTHS.get(self.agreement, 1.0)
        return self

    @classmethod
    def with_new_names(cls, given: dict[str, Any]) -> dict[str, Any]:
        """See `Settings`; adversary_weight becomes the agreement that it means."""
        renamed = super().with_new_names(given)
        for name in ("cr_training_file", "cr_judge_file"):
            if name in renamed:
                try:
                    renamed[name] = named_regions(renamed[name])
                except ValueError as error:
                    raise ValueError(f"{name}: {error}") from error
        weight = renamed.get("adversary_weight")
        try:
            number = float(weight)  # type: ignore[arg-type]
        except (TypeError, ValueError):
            if weight is None:
                renamed.pop("adversary_weight", None)
            return renamed
        if not 0 <= number < math.inf:
            return renamed
        agreement, strength = renamed.get("agreement", ADVERSARY), renamed.get("agreement_strength")
        if strength is not None:
            raise ValueError("adversary_weight is the agreement_strength of agreement adversary; give one of the two")
        if agreement in ("distance", "reversal") or (agreement == NO_AGREEMENT and number):
            raise ValueError(
                f"adversary_weight {number:g} asks for the adversary, agreement for {agreement}; give one of the two"
            )
        del renamed["adversary_weight"]
        return renamed | {
            "agreement": agreement if number else NO_AGREEMENT,
            "agreement_strength": weight if number else None,
        }

    @classmethod
    def implied_by(cls, given: dict[str, Any]) -> tuple[str, dict[str, Any]] | None:
        """See `Settings`; a configuration of the earlier program means its recipe."""
        names = [name for name in given if name in EARLIER_NAMES and given[name] is not None]
        if not names:
            return None
        return f"has {names[0]}, a setting of the earlier program", {"profile": "manual"}

    @property
    def network_seed(self) -> int:
        """Seed of weights, order of jets and dropout; `seed`, except for members of an ensemble."""
        return self.seed + (self.member or 0)


EARLIER_NAMES = frozenset(TrainSettings.aliases) - {"data_cache", "runs_path", "domain_loss"} | {"adversary_weight"}
"""Settings that only configurations of the earlier program have; in a config file they mean the profile 'manual'."""

VALUES_BEFORE = {
    "adversary_input": "probabilities",
    "adversary_momentum": 0.99,
    "distance_rise": 0.0,
    "standardize_inputs": False,
}
"""Values of later settings in runs that lack them, where these are not today's defaults."""

_LATER_SETTINGS = {
    *("accumulate", "adversary_weight", "agreement", "agreement_strength", "auxiliary_weight", "c2st_every"),
    *("cr_judge_file", "cr_shares", "cuda_graph", "data_place", "encoder", "encoder_options", "engine"),
    *("adversary_input", "adversary_momentum", "epoch_plots", "epoch_plots_of", "fold", "folds"),
    *("distance_rise", "matmul_precision", "member", "note", "plot_processes", "profile", "seeds"),
    *("adversary_learning_rate", "average_weights", "clip_gradient", "early_stopping", "optimizer", "schedule"),
    *("mlflow", "standardize_inputs", "start_from", "tag", "tensorboard", "weight_decay"),
    *FigureSettings.model_fields,
}
"""Settings that came after the first runs, whose training_params.yaml lack them; each new setting belongs here."""

FIRST_SETTINGS = [name for name in TrainSettings.model_fields if name not in _LATER_SETTINGS]
"""Settings that stand in the training_params.yaml of every run, under these names or earlier ones."""
