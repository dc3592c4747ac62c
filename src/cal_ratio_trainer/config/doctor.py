"""Settings of `cr_trainer doctor`."""

from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field

from cal_ratio_trainer.config.base import Settings


class DoctorSettings(Settings):
    """Device and folders that `cr_trainer doctor` examines besides the installation."""

    aliases: ClassVar[dict[str, str]] = {"runs_path": "output_path"}

    device: Literal["auto", "cpu", "cuda"] = Field(
        default="auto", description="Device whose engines are tried: auto, cpu or cuda."
    )
    output_path: Path = Field(
        default=Path("training_results"), description="Folder that holds all runs, by model name and run number."
    )
    cache_path: Path | None = Field(
        default=None, description="Folder that remote files are copied to; the user's cache folder if none."
    )
