"""Bars and lines: what goes where, and what quiet means."""

import contextlib
import io
import os
import signal
import sys

import pytest
from joblib import delayed

from quantseq.progress import Progress, interruptible, on_stop, parallel


def test_news_go_to_standard_error_and_results_to_standard_output(
    capsys: pytest.CaptureFixture[str],
) -> None:
    progress = Progress(quiet=False)
    progress.say("news")
    progress.tell("result")
    out, err = capsys.readouterr()
    assert (out, err) == ("result\n", "news\n")


def test_quiet_is_silent(capsys: pytest.CaptureFixture[str]) -> None:
    progress = Progress(quiet=True)
    with progress.bar("work", 3) as bar:
        progress.say("news")
        progress.tell("result")
        bar.step(3)
    assert capsys.readouterr() == ("", "")


class Terminal(io.StringIO):
    """A screen that somebody watches."""

    def isatty(self) -> bool:
        return True


def test_a_line_above_an_open_bar_stands_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setattr(sys, "stdout", screen)
    progress = Progress(quiet=False)
    with progress.bar("work", 3) as bar:
        bar.step(1)
        progress.tell("result")
        bar.step(1)
    rows = [row.rsplit("\r", 1)[-1] for row in screen.getvalue().split("\n")]
    assert "result" in rows


def test_what_was_done_before_counts_as_position_and_not_as_speed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    with Progress(quiet=False).bar("work", 10, done=9):
        pass
    last = screen.getvalue().rsplit("\r", 1)[-1]
    assert "9/10" in last
    assert "?" in last, "nothing was done in this session, so there is no rate"


def test_a_ctrl_c_that_a_library_swallowed_ends_the_work_at_the_next_step() -> None:
    before = signal.getsignal(signal.SIGINT)
    with interruptible(), Progress().bar("work", 2) as bar:
        bar.step()
        with contextlib.suppress(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            bar.step()
    assert signal.getsignal(signal.SIGINT) is before
    bar.step()


def test_work_in_the_background_ignores_ctrl_c() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with interruptible(), Progress().bar("work", 1) as bar:
            os.kill(os.getpid(), signal.SIGINT)
            bar.step()
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_and_sigterm_end_the_work_alike(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with pytest.raises(KeyboardInterrupt), interruptible() as heard:
        signal.raise_signal(number)
    assert heard == [number]
    assert signal.getsignal(number) is before


def test_who_waits_for_a_step_hears_of_the_first_and_the_second_signal() -> None:
    def act(heard: list[int]) -> None:
        if len(heard) > 1:
            raise KeyboardInterrupt

    with interruptible() as outer, on_stop(act) as inner:
        signal.raise_signal(signal.SIGTERM)
        assert outer == inner == [signal.SIGTERM]
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


def test_work_is_shared_out_to_processes_that_know_their_parent() -> None:
    assert parallel(1)(delayed(abs)(-one) for one in range(3)) == [0, 1, 2]
    assert set(parallel(2)(delayed(os.getppid)() for _ in range(4))) == {os.getpid()}
