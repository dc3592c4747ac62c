"""Settings of `cr_trainer import`."""

from pathlib import Path
from typing import ClassVar

from pydantic import Field, field_validator

from cal_ratio_trainer.config.base import Settings
from cal_ratio_trainer.config.network_name import model_name


class ImportSettings(Settings):
    """What `cr_trainer import` brings in, and under which name."""

    aliases: ClassVar[dict[str, str]] = {"runs_path": "output_path"}

    path: Path = Field(
        description="Run folder of the earlier program, or one file: Keras (zip or HDF5) or frugally-deep JSON."
    )
    model_name: str | None = Field(
        default=None, description="Name of the model that the run becomes one of; null takes it from the path."
    )
    output_path: Path = Field(
        default=Path("training_results"), description="Folder that holds all runs, by model name and run number."
    )

    @field_validator("model_name")
    @classmethod
    def _is_a_name(cls, given: str | None) -> str | None:
        return None if given is None else model_name(given)
