"""Settings of `cr_trainer plot`."""

from pathlib import Path
from typing import Annotated, Any, ClassVar, Self

from pydantic import BeforeValidator, Field, model_validator

from cal_ratio_trainer.config.base import (
    CacheFolder,
    FigureSettings,
    InputEntry,
    ReportFile,
    RunsFolderSettings,
    one_or_several,
)
from cal_ratio_trainer.config.profiles import demo_beside_file

_Word = Annotated[str, Field(min_length=1)]
_Words = Annotated[list[str], Field(min_length=1)]


class PlotInput(InputEntry):
    """A file to compare, and its name in figures and tables."""

    input_file: str = Field(min_length=1, description="Path or URL of a file of jets, or 'demo'.")
    legend_name: str | None = Field(
        default=None, min_length=1, description="Name in legends; null: the name of the file."
    )

    @classmethod
    def of_word(cls, word: str) -> dict[str, Any]:
        """Returns the parts of NAME=FILE. Folders, URLs and names of files may contain an equals sign too."""
        name, equals, file = word.partition("=")
        if not equals or "/" in name or Path(word).is_file():
            return super().of_word(word)
        if not name.strip() or not file:
            raise ValueError(f"'{word}' should be NAME=FILE")
        return {"input_file": file, "legend_name": name.strip()}


class PlotSettings(RunsFolderSettings, FigureSettings):
    """Settings of `cr_trainer plot`."""

    # Configurations that name training files for both commands.
    ignored: ClassVar[dict[str, str]] = {"profile": ""}

    input_files: Annotated[list[PlotInput], BeforeValidator(one_or_several)] = Field(
        default=[],
        description="Files of jets, each FILE or NAME=FILE; paths or URLs. In a config file also mappings with "
        "input_file and legend_name. Without any, main_training_file and cr_training_file are compared.",
    )
    main_training_file: str = Field(
        default="demo", description="Main training file if no files are given: a path, URL or 'demo'."
    )
    cr_training_file: str = Field(
        default="demo", description="Control-region training file if no files are given: a path, URL or 'demo'."
    )
    common_plots: list[_Word | _Words] = Field(
        default=[
            "jet_pt",
            "jet_eta",
            "jet_phi",
            "mcEventWeight",
            "MSeg_t0_1",
            "MSeg_etaPos_0",
            "clus_time_0",
            "clus_pt_0",
            "clus_phi_1",
            "clus_eta_1",
            "track_pt_0",
            "track_phi_1",
            "track_eta_1",
        ],
        description="Variables to compare: scalar columns, a feature of the constituents in one slot (clus_pt_0) or of "
        "all constituents (clus_pt), numbers of constituents (n_clusters). In a config file an entry can be a list of "
        "alternative names, of which the first that a file has is taken.",
    )
    plot_every_column: bool = Field(
        default=False, description="Also draw every column of the files, in the table of columns."
    )
    data_labels_main: dict[int, str] = Field(
        default={0: "Multijet MC", 1: "Signal MC", 2: "BIB data"},
        description="Names of the labels in main training files, by number.",
    )
    data_labels_adversary: dict[int, str] = Field(
        default={0: "Multijet MC", 2: "Multijet data"},
        description="Names of the labels in control-region files, by number.",
    )
    weight_column: str = Field(default="mcEventWeight", description="Column with the weights of the jets.")
    bins: int = Field(
        default=40, ge=2, le=500, description="Largest number of bins in a figure; small samples have fewer. [bins]"
    )
    central_share: float = Field(
        default=0.99,
        gt=0,
        le=1,
        description="Share of each class that an axis covers, without far outliers; the legend has the share outside. "
        "[fraction]",
    )
    output_report: ReportFile = Field(
        default=Path("reports/report.md"),
        description="Folder for report.md, its HTML page and the figures; or the Markdown file, with the rest beside.",
    )
    cache_path: CacheFolder = None
    run: str | None = Field(
        default=None,
        description="Redraw every plot of the training NAME/RUN in its folder, from its stored histograms and without "
        "its data, instead of comparing files.",
    )

    @model_validator(mode="after")
    def _one_task(self) -> Self:
        if self.run is not None and self.input_files:
            raise ValueError("give files to compare or a run to redraw, not both")
        mixture = demo_beside_file(self.main_training_file, self.cr_training_file)
        if mixture is not None and self.run is None and not self.input_files:
            raise ValueError(f"{mixture}, or name the one as a file to look at")
        names = [each.legend_name for each in self.input_files if each.legend_name is not None]
        twice = [name for name in dict.fromkeys(names) if names.count(name) > 1]
        if twice:
            raise ValueError(f"two files are called {twice[0]}; give each a name of its own")
        return self

    @property
    def variables(self) -> list[tuple[str, ...]]:
        """The alternative names of each entry of `common_plots`."""
        return [(names,) if isinstance(names, str) else tuple(names) for names in self.common_plots]

    @property
    def compared(self) -> list[PlotInput]:
        """The files to compare: those given, else main and control-region file."""
        return self.input_files or [
            PlotInput(input_file=self.main_training_file, legend_name="Main"),
            PlotInput(input_file=self.cr_training_file, legend_name="Control region"),
        ]
