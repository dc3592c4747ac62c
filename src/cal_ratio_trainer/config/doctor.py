"""Settings of `cr_trainer doctor`."""

from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field

from cal_ratio_trainer.config.base import Settings
from cal_ratio_trainer.config.shared import RunsFolder


class DoctorSettings(Settings):
    """Settings of `cr_trainer doctor`: the device and folders to examine."""

    aliases: ClassVar[dict[str, str]] = {"runs_path": "output_path"}

    device: Literal["auto", "cpu", "cuda"] = Field(
        default="auto", description="Device whose engines are tried: auto, cpu or cuda."
    )
    output_path: RunsFolder = Path("training_results")
    cache_path: Path | None = Field(
        default=None, description="Folder that remote files are copied to; the user's cache folder if none."
    )
