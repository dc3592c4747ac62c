"""Settings of `cr_trainer demo`."""

from pathlib import Path
from typing import ClassVar

from pydantic import Field

from cal_ratio_trainer.config.scheduling import SchedulingSettings


class DemoSettings(SchedulingSettings):
    """What `cr_trainer demo` simulates."""

    defaults_file: ClassVar[str | None] = "demo"

    output_path: Path = Field(description="Folder that the ntuples are written to; made where it is missing.")
    jets: int = Field(
        ge=1, description="How many jets of each class (signal, QCD, BIB) convert will keep, exactly. [jets]"
    )
    control_jets: int | None = Field(
        ge=1,
        description="How many jets of control-region simulation, and of data, convert will keep; as many as jets if "
        "null. [jets]",
    )
    seed: int = Field(ge=0, description="Seed of everything random; the same seed gives the same content. [1]")
