"""Servers that fail: errors after which a request is repeated, and final ones."""

import time

import pytest

from cal_ratio_trainer.files.remote import may_pass, persistently, xrootd_hint


class Answer(Exception):
    """Exception of an HTTP library."""

    def __init__(self, status: int) -> None:
        self.status = status
        super().__init__(f"status {status}")


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Durations of the waits, which are skipped."""
    waited: list[float] = []
    monkeypatch.setattr(time, "sleep", waited.append)
    return waited


def fails(times: int, error: Exception) -> "list[Exception | str]":
    """Answers of a server that fails this often and then sends a file."""
    return [*[error] * times, "file"]


def ask(answers: "list[Exception | str]") -> str:
    """Returns the next answer."""
    answer = answers.pop(0)
    if isinstance(answer, Exception):
        raise answer
    return answer


def test_a_server_that_fails_for_a_while_is_asked_again_after_longer_and_longer_times(waits: list[float]) -> None:
    answers = fails(3, ConnectionResetError("gone"))
    assert persistently(lambda: ask(answers), "opening") == "file"
    assert len(waits) == 3
    assert waits[0] < waits[1] < waits[2]


def test_in_the_end_its_error_is_raised(waits: list[float]) -> None:
    answers = fails(9, TimeoutError("no answer"))
    with pytest.raises(TimeoutError, match="no answer"):
        persistently(lambda: ask(answers), "opening")
    assert len(waits) == 3


@pytest.mark.parametrize(
    "error",
    [
        FileNotFoundError("a.root"),
        PermissionError("a.root"),
        ValueError("not a ROOT file"),
        Answer(403),
        OSError("[ERROR] Server responded with an error: [3011] No such file or directory"),
    ],
)
def test_what_will_not_pass_is_raised_at_once(error: Exception, waits: list[float]) -> None:
    answers = fails(1, error)
    with pytest.raises(type(error)):
        persistently(lambda: ask(answers), "opening")
    assert waits == []


@pytest.mark.parametrize("status", [408, 429, 500, 503])
def test_an_overloaded_server_may_recover(status: int) -> None:
    assert may_pass(Answer(status))


def test_root_urls_need_packages_that_are_named() -> None:
    assert "cal_ratio_trainer[xrootd]" in xrootd_hint("root://a//b", ValueError("Protocol not known: root"))
    assert "cal_ratio_trainer[xrootd]" in xrootd_hint("root://a//b", ImportError("no XRootD"))
    assert xrootd_hint("root://a//b", OSError("no answer")) == ""
    assert xrootd_hint("https://a/b", ImportError("no aiohttp")) == ""
