"""Settings of the commands that score jets: `cr_trainer score` and `cr_trainer compare`."""

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from cal_ratio_trainer.config.base import (
    MAX_PROCESSES,
    CacheFolder,
    FigureSettings,
    MaxJetPt,
    NetworkName,
    ReportFile,
    Rule,
    RunsFolderSettings,
    SharedListSettings,
)
from cal_ratio_trainer.jets.labels import DataType


class ReadingSettings(RunsFolderSettings, FigureSettings):
    """Settings of every command that scores jets: how networks are found and files are read."""

    rule: Rule = Field(default="auc-near-lowest-ks", description="Rule that chooses the epoch 'best'.")
    data_type: DataType | None = Field(
        default=None,
        description="Type of the jets in ntuples; null keeps every jet in range, without a label. Other files contain "
        "their type.",
    )
    kind: Literal["main", "control"] | None = Field(
        default=None,
        description="Meaning of label 2 in files that do not state it: beam-induced background (main) or data "
        "(control).",
    )
    llp_mH: float | None = Field(
        default=None,
        gt=0,
        description="Mass of the mediator, for signal ntuples and for networks with mass inputs. [GeV]",
    )
    llp_mS: float | None = Field(
        default=None,
        gt=0,
        description="Mass of the long-lived particle, for signal ntuples and for networks with mass inputs. [GeV]",
    )
    min_jet_pt: float = Field(default=40.0, ge=0, description="Smallest jet pt that is kept, in ntuples. [GeV]")
    max_jet_pt: MaxJetPt = Field(
        default=500.0,
        gt=0,
        allow_inf_nan=True,
        description="Jets of this pt and above are dropped, in ntuples. [GeV]",
    )
    max_hlt_delta_r: float | None = Field(
        default=None,
        gt=0,
        description="Largest distance (Delta R) from a tagged trigger jet to its jet, in BIB ntuples; null: no limit. "
        "[1]",
    )
    chunk_events: int = Field(
        default=4000, ge=1, description="Number of events in memory at a time, of ntuples. [events]"
    )
    keep_columns: list[str] = Field(
        default=[], description="Further columns (of ntuples: branches) to keep in the result."
    )
    cache_path: CacheFolder = None
    blind_above: float | None = Field(
        default=None,
        ge=0,
        lt=1,
        description="Hide the scores of jets of data with a signal output above this, unless they come from a declared "
        "control region (--kind control, or a control file); null hides nothing. [1]",
    )
    device: Literal["auto", "cpu", "cuda"] = Field(
        default="auto", description="Device of the network; auto takes a GPU if there is one."
    )
    threads: int | None = Field(
        default=None, ge=1, le=MAX_PROCESSES, description="CPU threads; null takes all cores. [threads]"
    )


class ScoreSettings(ReadingSettings, SharedListSettings):
    """Settings of `cr_trainer score`."""

    input_files: list[str] = Field(default=[], description="Files of jets or ntuples: paths, patterns or URLs.")
    training: NetworkName | None = Field(
        default=None,
        description="The network, instead of the last word: NAME/RUN/EPOCH (best and last are epochs too) or a .keras "
        "or .safetensors file.",
    )
    output_report: ReportFile = Field(
        default=Path("score_report/report.md"),
        description="Folder for report.md, its HTML page, the figures and the scores; or the Markdown file, with the "
        "rest beside it.",
    )
    cuts: list[Annotated[float, Field(ge=0, lt=1)]] = Field(
        default=[0.5, 0.8, 0.9, 0.99],
        description="Cuts on the signal output; the report shows the share of jets above each. [1]",
    )

    @classmethod
    def with_new_names(cls, given: dict[str, Any]) -> dict[str, Any]:
        """See `Settings`; in the earlier program `output_path` was the report."""
        path = given.get("output_path")
        if isinstance(path, str | Path) and Path(path).suffix == ".md":
            given = {"output_report" if name == "output_path" else name: value for name, value in given.items()}
        return super().with_new_names(given)


class CompareSettings(ReadingSettings):
    """Settings of `cr_trainer compare`."""

    first: str | None = Field(
        default=None,
        description="The first network, instead of the first word: NAME/RUN/EPOCH or a .keras or .safetensors file.",
    )
    second: str | None = Field(
        default=None,
        description="The second network, instead of the second word; null if it is that word, or with --column.",
    )
    input_files: list[str] = Field(
        default=[], description="Files of jets or ntuples; without any, the test samples of the first network's run."
    )
    column: str | None = Field(
        default=None,
        description="Scores in the files, instead of a second network: the name of their columns with {} in place of "
        "qcd, sig and bib, e.g. jet_nn_calRatio_main_{}_lowMass_v3Adv.",
    )
    output_report: ReportFile = Field(
        default=Path("compare_report/report.md"),
        description="Folder for report.md, its HTML page, the figures and the scores of both; or the Markdown file, "
        "with the rest beside it.",
    )
    all_jets: bool = Field(
        default=False, description="Also use jets that one of the networks was trained on or chosen by."
    )
    replicas: int = Field(
        default=200, ge=2, description="Number of bootstrap samples for the errors of differences. [samples]"
    )
    seed: int = Field(default=1, ge=0, description="Seed of the bootstrap samples. [1]")
    disagreements: int = Field(default=20, ge=0, description="Number of jets listed, of those that differ most. [jets]")
    sculpting: bool = Field(
        default=False,
        description="Show efficiency and mistag of both at signal efficiencies of 90 and 80 % against pt, mass and "
        "width of the jet's clusters, mediator mass and decay position.",
    )
    explain: bool = Field(
        default=True,
        description="If a network and scores in the files differ, look for the change of the inputs that makes them "
        "agree.",
    )

    @model_validator(mode="after")
    def _one_second(self) -> Self:
        if self.second is not None and self.column is not None:
            raise ValueError("give either a second network or --column, not both")
        if self.column is not None and self.column.count("{}") != 1:
            raise ValueError(f"column must hold {{}} once, where qcd, sig and bib stand, got {self.column}")
        return self
