"""Settings that every command which draws figures has."""

from typing import ClassVar, Literal

from pydantic import Field

from cal_ratio_trainer.config.base import Settings


class FigureSettings(Settings):
    """What stands over a figure, and how it is written.

    The heading is for data and simulation of an experiment; figures of the built-in demo say "demo simulation" whatever
    stands here, and never a luminosity.
    """

    defaults_file: ClassVar[str | None] = "figures"

    experiment: str = Field(min_length=1, description="Name over every figure.")
    status: str = Field(description="What stands behind the experiment's name: Internal, Preliminary, or nothing.")
    energy_tev: float | None = Field(gt=0, description="Centre-of-mass energy over every figure; null: none. [TeV]")
    luminosity_fb: float | None = Field(gt=0, description="Luminosity over every figure; null: none. [1/fb]")
    plot_format: Literal["png", "pdf", "both"] = Field(
        description="Write figures as PNG, as PDF, or as both. HTML reports show PNG, and make one beside each PDF."
    )
