"""The figures of merit of a run's newest evaluation as a file: all that the final plots are drawn from."""

import json

from cal_ratio_trainer.errors import InputFileError
from cal_ratio_trainer.evaluation.summary import TestFigures
from cal_ratio_trainer.files.atomic import write_text
from cal_ratio_trainer.files.json_text import read_json
from cal_ratio_trainer.runs.directory import RunDirectory


def write_evaluation(run: RunDirectory, epoch: int, figures: TestFigures) -> None:
    """Keep the figures of merit of an epoch's network on the test part, complete or not at all."""
    write_text(run.evaluation_file, json.dumps({"epoch": epoch, "figures": figures.to_dict()}) + "\n")


def read_evaluation(run: RunDirectory) -> tuple[int, TestFigures]:
    """The epoch that was evaluated last, and its figures of merit.

    Raises:
        InputFileError: there is no such file, or it is damaged.
    """
    try:
        plain = read_json(run.evaluation_file, bad_numbers=True)
        return int(plain["epoch"]), TestFigures.from_dict(plain["figures"])
    except FileNotFoundError as error:
        raise InputFileError(run.evaluation_file, "no such figures of merit; the run was not evaluated") from error
    except (ValueError, LookupError, TypeError, AttributeError, ArithmeticError) as error:
        raise InputFileError(run.evaluation_file, f"is not a complete file of figures of merit ({error})") from error
