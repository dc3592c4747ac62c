"""User errors are safe to print and complete after pickling."""

import pickle

import pytest

from cal_ratio_trainer.errors import ConfigError, InputFileError, MissingColumn, SameOutput, UserError, harmless
from cal_ratio_trainer.evaluation.scored import NonFiniteInput
from cal_ratio_trainer.jets.expressions import ExpressionError


@pytest.mark.parametrize(
    "error",
    [
        ConfigError(["first", "second"]),
        InputFileError("a.root", "is damaged"),
        MissingColumn("a.root", ["jet_pt"], ["jet_pT"]),
        SameOutput("a", "b", "c"),
        ExpressionError("a > ", "cannot be read"),
        NonFiniteInput("scores", 2, 9),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_error_keeps_its_parts_and_notes_between_processes(error: UserError) -> None:
    error.add_note("seen on a worker")
    again = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own bytes
    assert type(again) is type(error)
    assert str(again) == str(error)
    assert vars(again) == vars(error)


def test_text_keeps_its_lines_unless_one_line_is_wanted() -> None:
    assert harmless("a\tb\nc\r\u200b") == "a\tb\nc\\r\\u200b"
    assert harmless("a\tb\n", kept="") == "a\\tb\\n"
