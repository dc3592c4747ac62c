"""Settings of `cr_trainer convert training`."""

from pathlib import Path
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, field_validator, model_validator

from cal_ratio_trainer.config.base import Settings
from cal_ratio_trainer.config.network_name import in_one_word
from cal_ratio_trainer.config.rule import Rule


class ConvertTrainingSettings(Settings):
    """Which network `cr_trainer convert training` writes, in which formats, and where."""

    aliases: ClassVar[dict[str, str]] = {"run_to_convert": "training", "runs_path": "output_path"}

    training: str = Field(description="The network: NAME/RUN/EPOCH (best and last are epochs too) or a .keras file.")
    output_json: Path = Field(
        default=Path("model.json"), description="File to write; its ending gives way to that of the format."
    )
    format: Literal["fdeep", "fdeep-keras3", "keras", "onnx", "all"] = Field(
        default="fdeep",
        description="What is written: for frugally-deep 0.15 (DiVertAnalysis) or 0.20 and later, Keras 3, ONNX, or "
        "all.",
    )
    opset: int = Field(
        default=11, ge=11, description="Version of ONNX' operators; runtimes read theirs and older ones. [1]"
    )
    with_preprocessing: bool = Field(
        default=False,
        description="The ONNX file takes jets as converted (GeV, MeV, mm) and does the scaling of build itself.",
    )
    folds: bool = Field(
        default=False,
        description="Write every network of a fold set, NAME/RUN, with the rule that says which jet gets which.",
    )
    rule: Rule = Field(default="auc-near-lowest-ks", description="By which rule the epoch 'best' is chosen.")
    output_path: Path = Field(
        default=Path("training_results"), description="Folder that holds all runs, by model name and run number."
    )

    @field_validator("training", mode="before")
    @classmethod
    def _in_one_word(cls, given: Any) -> Any:
        return in_one_word(given)

    @model_validator(mode="after")
    def _onnx_where_it_is_meant(self) -> Self:
        given = {"with_preprocessing": self.with_preprocessing, "opset": self.opset != self.defaults()["opset"]}
        meant = [name for name, is_given in given.items() if is_given]
        if meant and self.format not in ("onnx", "all"):
            verb = "is" if len(meant) == 1 else "are"
            raise ValueError(f"{' and '.join(meant)} {verb} for ONNX files, but the format is {self.format}")
        return self
