"""Signals during a training, and before it."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from cal_ratio_trainer.config.training import TrainSettings
from cal_ratio_trainer.errors import EXIT_INTERRUPTED
from cal_ratio_trainer.training.signals import (
    EXIT_TERMINATED,
    TrainingStopped,
    stop_requests,
    stopped_at_once,
)
from cal_ratio_trainer.training.start import Start
from cal_ratio_trainer.training.train import train


def test_sigterm_is_taken_note_of_and_the_handlers_come_back() -> None:
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    with stop_requests() as request:
        signal.raise_signal(signal.SIGTERM)
    assert request.exit_status == EXIT_TERMINATED
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before


def test_the_second_interrupt_is_one() -> None:
    with stop_requests() as request:
        signal.raise_signal(signal.SIGINT)
        assert request.exit_status == EXIT_INTERRUPTED
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


def test_an_interrupt_that_another_process_told_of_first_is_not_the_second() -> None:
    with stop_requests() as request:
        request.signal_number = signal.SIGINT
        signal.raise_signal(signal.SIGINT)
    assert request.exit_status == EXIT_INTERRUPTED


def test_sigterm_while_the_data_are_read_ends_with_the_same_status_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*arguments: object) -> None:
        signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr("cal_ratio_trainer.training.setup.training_files", killed)
    with pytest.raises(TrainingStopped, match="before the training began") as stopped:
        train(Start(TrainSettings.make(output_path=tmp_path)), say=print, details=str)
    assert stopped.value.exit_status == EXIT_TERMINATED
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("made_of_it", [None, ValueError("no module")])
def test_sigterm_that_what_it_interrupts_makes_another_error_of_stops_all_the_same(
    made_of_it: Exception | None,
) -> None:
    def is_imported() -> None:
        with stopped_at_once():
            try:
                signal.raise_signal(signal.SIGTERM)
            except TrainingStopped:
                if made_of_it is not None:
                    raise made_of_it from None

    with pytest.raises(TrainingStopped, match="before the training began"):
        is_imported()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_worker_process_ends_by_the_signal_as_it_would_without() -> None:
    program = """
import os, signal
from cal_ratio_trainer.errors import EXIT_INTERRUPTED
from cal_ratio_trainer.training.signals import stopped_at_once
with stopped_at_once():
    child = os.fork()
    if child == 0:
        signal.raise_signal(signal.SIGTERM)
        os._exit(0)
    print(os.WTERMSIG(os.waitpid(child, 0)[1]))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert int(done.stdout) == signal.SIGTERM


def test_a_thread_of_a_larger_program_can_train() -> None:
    seen = []

    def work() -> None:
        with stopped_at_once(), stop_requests() as request:
            seen.append(request.signal_number)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [None]
