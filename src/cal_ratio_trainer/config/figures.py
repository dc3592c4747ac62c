"""Settings that every command which draws figures has."""

from typing import Literal

from pydantic import Field

from cal_ratio_trainer.config.base import Settings


class FigureSettings(Settings):
    """What stands over a figure, and how it is written.

    The heading is for data and simulation of an experiment; figures of the built-in demo say "demo simulation" whatever
    stands here, and never a luminosity.
    """

    experiment: str = Field(default="ATLAS", min_length=1, description="Name over every figure.")
    status: str = Field(
        default="Internal", description="What stands behind the experiment's name: Internal, Preliminary, or nothing."
    )
    energy_tev: float | None = Field(
        default=13.0, gt=0, description="Centre-of-mass energy over every figure; null: none. [TeV]"
    )
    luminosity_fb: float | None = Field(
        default=139.0, gt=0, description="Luminosity over every figure; null: none. [1/fb]"
    )
    plot_format: Literal["png", "pdf", "both"] = Field(
        default="png",
        description="Write figures as PNG, as PDF, or as both. HTML reports show PNG, and make one beside each PDF.",
    )
