"""Settings of `cr_trainer resample`."""

from pathlib import Path

from pydantic import Field

from cal_ratio_trainer.config.base import Settings


class ResampleSettings(Settings):
    """What `cr_trainer resample` takes of which file."""

    input_file: str = Field(description="File of jets of any format, or its URL.")
    output_file: Path = Field(description="File to write; .pkl makes a pickled flat frame.")
    fraction: float = Field(gt=0, le=1, description="Share of the jets of each label that is taken. [1]")
    seed: int = Field(default=1, ge=0, description="Seed of the sampling; the same seed gives the same jets. [1]")
    overwrite: bool = Field(default=False, description="Replace the output file where it exists.")
    cache_path: Path | None = Field(
        default=None, description="Folder for a copy of a remote input; the user's cache folder if null."
    )
