"""Settings of `cr_trainer model-dump`."""

from pathlib import Path
from typing import ClassVar

from pydantic import Field

from cal_ratio_trainer.config.base import Settings


class ModelDumpSettings(Settings):
    """Which network `cr_trainer model-dump` shows."""

    aliases: ClassVar[dict[str, str]] = {"runs_path": "output_path"}

    training: str = Field(description="NAME/RUN, NAME/RUN/EPOCH, or a .keras file of ours.")
    output_path: Path = Field(
        default=Path("training_results"), description="Folder that holds all runs, by model name and run number."
    )
