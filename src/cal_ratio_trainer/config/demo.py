"""Settings of `cr_trainer demo`."""

from pathlib import Path

from pydantic import Field

from cal_ratio_trainer.config.shared import SchedulingSettings


class DemoSettings(SchedulingSettings):
    """Settings of `cr_trainer demo`."""

    output_path: Path = Field(
        default=Path("demo_ntuples"), description="Folder that the ntuples are written to; made where it is missing."
    )
    jets: int = Field(
        default=20000,
        ge=1,
        description="How many jets of each class (signal, QCD, BIB) convert will keep, exactly. [jets]",
    )
    control_jets: int | None = Field(
        default=None,
        ge=1,
        description="How many jets of control-region simulation, and of data, convert will keep; as many as jets if "
        "null. [jets]",
    )
    seed: int = Field(
        default=1, ge=0, description="Seed of everything random; the same seed gives the same content. [1]"
    )
    workers: int = Field(default=2, ge=1, description="How many processes the scheduler 'local' has. [processes]")
