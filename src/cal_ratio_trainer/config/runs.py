"""Settings of the commands about runs and the installation.

These are `cr_trainer runs`, `watch`, `analyze`, `convert training`, `import`, `model-dump` and `doctor`.
"""

from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from cal_ratio_trainer.config.base import (
    CacheFolder,
    FigureSettings,
    ModelName,
    NetworkName,
    OutputFile,
    ReportFile,
    Rule,
    RunName,
    RunsFolderSettings,
    name_of_file,
)

Status = Literal[
    "finished", "running", "interrupted", "killed", "failed", "diverged", "imported", "incomplete", "unknown"
]


class RunsSettings(RunsFolderSettings):
    """Settings of `cr_trainer runs`."""

    aliases: ClassVar[dict[str, str]] = {**RunsFolderSettings.aliases, "members": "folds"}

    sort: str = Field(
        default="started",
        min_length=1,
        description="Column to sort by, smallest first; with a minus before it largest first, e.g. -test_auc.",
    )
    status: list[Status] = Field(
        default=[], description="Show only runs with one of these states; all if none is given."
    )
    tag: list[str] = Field(default=[], description="Show only runs with one of these tags; all if none is given.")
    rule: Rule = Field(
        default="auc-near-lowest-ks",
        description="Rule that chooses the best epoch of a run, on its validation part.",
    )
    folds: bool = Field(
        default=False, description="Also list the networks of fold sets and ensembles, one line each below their set."
    )
    csv: Annotated[str | None, BeforeValidator(name_of_file)] = Field(
        default=None, description="Write the complete table as CSV to this file, or with - to standard output."
    )
    html: Annotated[Path | None, BeforeValidator(name_of_file)] = Field(
        default=None, description="Write the complete table to this file as a page with links to the pages of the runs."
    )


class WatchSettings(RunsFolderSettings):
    """Settings of `cr_trainer watch`."""

    run: str = Field(description="Run as NAME/RUN, e.g. default/0 or default/-1 for the newest, or its folder.")
    serve: bool = Field(
        default=False,
        description="Serve the page until Ctrl-C, at an address that only this machine can reach.",
    )
    port: int = Field(default=0, ge=0, le=65535, description="Port of this address; 0 takes any free one. [1]")


class AnalyzeSettings(RunsFolderSettings, FigureSettings):
    """Settings of `cr_trainer analyze`."""

    aliases: ClassVar[dict[str, str]] = {**RunsFolderSettings.aliases, "runs": "runs_to_analyze"}

    runs_to_analyze: list[RunName] = Field(
        default=[],
        description="Runs as NAME/RUN; in a config file also mappings with name and run. Without any: all finished "
        "runs under output_path.",
    )
    main_training_file: str | None = Field(
        default=None,
        description="Signal, QCD and BIB jets on which to evaluate runs without test jets, e.g. imported ones: a path, "
        "URL or 'demo'; null leaves these runs without such figures.",
    )
    cr_training_file: str | None = Field(
        default=None, description="Control-region jets for the same runs; give both files or none."
    )
    output_report: ReportFile = Field(
        default=Path("reports/analyze.md"),
        description="Folder for report.md, its HTML page and the figures; or the Markdown file, with the rest beside.",
    )
    rule: Rule = Field(
        default="auc-near-lowest-ks",
        description="Rule that recommends an epoch; all rules use the validation part.",
    )
    best_of_each: int = Field(
        default=2,
        ge=1,
        description="Number of epochs of each run that each criterion puts on the shortlist, the best first. [epochs]",
    )
    plotted_epochs: int = Field(
        default=12,
        ge=1,
        description="Largest number of shortlisted epochs whose score plots are all shown; if there are more, each run "
        "shows fewer. [epochs]",
    )
    sculpting: bool = Field(
        default=False,
        description="Show efficiency and mistag of the recommended epochs at signal efficiencies of 90 and 80 % "
        "against pt, mass and width of the jet's clusters, mediator mass and decay position.",
    )
    replicas: int = Field(
        default=200,
        ge=0,
        le=10_000,
        description="Number of bootstrap samples for the errors of AUC and K-S; 0: no errors. [samples]",
    )
    seed: int = Field(
        default=1, ge=0, lt=2**63, description="Seed of the bootstrap samples and of the permutations. [1]"
    )
    importance: int = Field(
        default=0,
        ge=0,
        le=1000,
        description="Number of permutations of each input for its importance to the recommended epoch; 0: no "
        "importance; 5 are enough. [permutations]",
    )
    importance_jets: int = Field(
        default=20_000, ge=1, description="Largest number of test jets for the importance of inputs. [jets]"
    )
    device: Literal["auto", "cpu", "cuda"] = Field(
        default="auto", description="Device of the networks; auto takes a GPU if there is one."
    )

    @model_validator(mode="after")
    def _both_files(self) -> Self:
        if (self.main_training_file is None) != (self.cr_training_file is None):
            raise ValueError("main_training_file and cr_training_file go together: AUC is of one, K-S of the other")
        return self


class ConvertTrainingSettings(RunsFolderSettings):
    """Settings of `cr_trainer convert training`."""

    aliases: ClassVar[dict[str, str]] = {**RunsFolderSettings.aliases, "run_to_convert": "training", "members": "folds"}

    training: NetworkName = Field(
        description="The network: NAME/RUN/EPOCH (best and last are epochs too) or a .keras or .safetensors file."
    )
    output_json: OutputFile = Field(
        default=Path("model.json"),
        description="File to write. Without --format its suffix chooses the format: .json, .onnx, .keras or "
        ".safetensors; otherwise the suffix of the format replaces it.",
    )
    format: str = Field(
        default="fdeep",
        examples=["fdeep", "fdeep-keras3", "keras", "onnx", "safetensors", "all"],
        description="Format to write: fdeep or fdeep-keras3 for frugally-deep 0.15 (DiVertAnalysis) or 0.20 and later, "
        "keras for Keras 3, onnx, all of these, or safetensors, the program's own.",
    )
    opset: int = Field(
        default=11, ge=11, description="Version of the ONNX operators; a runtime reads its own and older versions. [1]"
    )
    with_preprocessing: bool = Field(
        default=False,
        description="Write an ONNX file that takes jets as converted (GeV, MeV, mm) and does the scaling of build "
        "itself.",
    )
    folds: bool = Field(
        default=False,
        description="Write every network of a fold set, NAME/RUN, with the rule that assigns events to them; or every "
        "member of an ensemble.",
    )
    rule: Rule = Field(default="auc-near-lowest-ks", description="Rule that chooses the epoch 'best'.")

    @model_validator(mode="before")
    @classmethod
    def _format_of_ending(cls, given: Any) -> Any:
        if isinstance(given, dict) and given.get("format") is None and given.get("output_json") is not None:
            ending = Path(str(given["output_json"])).suffix
            if ending in (".onnx", ".keras", ".safetensors"):
                return {**given, "format": ending.removeprefix(".")}
        return given

    @model_validator(mode="after")
    def _onnx_where_it_is_meant(self) -> Self:
        given = {"with_preprocessing": self.with_preprocessing, "opset": self.opset != self.defaults()["opset"]}
        meant = [name for name, is_given in given.items() if is_given]
        if meant and self.format not in ("onnx", "all"):
            verb = "is" if len(meant) == 1 else "are"
            raise ValueError(f"{' and '.join(meant)} {verb} for ONNX files, but the format is {self.format}")
        return self


class ImportSettings(RunsFolderSettings):
    """Settings of `cr_trainer import`."""

    path: Path = Field(
        description="Run folder of the earlier program, or one file: Keras (zip or HDF5) or frugally-deep JSON."
    )
    model_name: ModelName | None = Field(
        default=None, description="Name of the model to which the run is added; null takes it from the path."
    )


class ModelDumpSettings(RunsFolderSettings):
    """Settings of `cr_trainer model-dump`."""

    training: str = Field(description="NAME/RUN, NAME/RUN/EPOCH, or a .keras or .safetensors file of this program.")


class DoctorSettings(RunsFolderSettings):
    """Settings of `cr_trainer doctor`: the device and folders to examine."""

    device: Literal["auto", "cpu", "cuda"] = Field(
        default="auto", description="Device whose engines are checked: auto, cpu or cuda."
    )
    cache_path: CacheFolder = None
