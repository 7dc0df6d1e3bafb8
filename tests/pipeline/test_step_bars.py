"""Bars that training steps move."""

from quantseq.pipeline.step_bars import StepBars
from quantseq.progress import Bar, Progress
from quantseq.seq2seq.training import StepReport


def test_the_bar_counts_from_where_a_resumed_training_stands() -> None:
    begun: list[int] = []
    seen: list[int] = []

    class Listening(Progress):
        def bar(self, title: str, total: int, *, unit: str = "it", done: int = 0):
            begun.append(done)

            class One:
                def __enter__(self) -> Bar:
                    return self

                def __exit__(self, *_: object) -> None: ...

                def step(self, count: int = 1, **figures: float | str) -> None:
                    seen.append(count)

            return One()

    with StepBars(Listening(quiet=True), lambda _: "x") as bars:
        for step in (7, 8):
            bars.only(
                StepReport(
                    step=step, steps=10, loss=1.0, learning_rate=0.1, examples=1, seconds=0.0
                )
            )
    assert (begun, seen) == ([7], [1, 1])
