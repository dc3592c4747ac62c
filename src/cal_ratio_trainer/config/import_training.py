"""Settings of `cr_trainer import`."""

from pathlib import Path
from typing import ClassVar

from pydantic import Field

from cal_ratio_trainer.config.base import Settings


class ImportSettings(Settings):
    """What `cr_trainer import` brings in, and under which name."""

    defaults_file: ClassVar[str | None] = "import_training"
    aliases: ClassVar[dict[str, str]] = {"runs_path": "output_path"}

    path: Path = Field(
        description="Run folder of the earlier program, or one file: Keras (zip or HDF5) or frugally-deep JSON."
    )
    model_name: str | None = Field(
        pattern=r"^[A-Za-z0-9][\w.+-]*$",
        description="Name of the model that the run becomes one of; null takes it from the path.",
    )
    output_path: Path = Field(description="Folder that holds all runs, by model name and run number.")
