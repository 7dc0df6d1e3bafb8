import numpy as np

from quantseq.reporting.drawing import profiles
from quantseq.reporting.drawing.ink import Drawing, svg
from quantseq.reporting.drawing.profiles import Mark

X = np.array([1.0, 10.0, 100.0])


def _svg(draw: Drawing) -> str:
    return svg(draw, (440, 250), prefix="p", title="t", description="d")


def test_a_profile_marks_its_place_and_its_level() -> None:
    plain = _svg(profiles.profile(X, X, across="trials"))
    marked = _svg(profiles.profile(X, X, across="trials", mark=Mark(10.0, "N = 10"), level=50.0))
    assert ">trials<" in plain
    assert "var(--loss)" not in plain
    assert ">N = 10<" in marked
    assert "stroke:var(--ink)" in marked


def test_a_mark_outside_of_the_axis_is_left_out() -> None:
    assert ">far<" not in _svg(profiles.profile(X, X, across="x", mark=Mark(1e6, "far"), log=True))


def test_named_ticks_stand_where_they_should_on_a_log_axis() -> None:
    picture = _svg(profiles.profile(X, X, across="x", log=True, ticks=(1, 10, 100)))
    for text in (">1<", ">10<", ">100<"):
        assert text in picture


def test_bars_tell_gains_from_losses_and_show_errors_and_rivals() -> None:
    up = _svg(profiles.bars(["a", "b"], np.array([1.0, 2.0]), show=str))
    both = _svg(
        profiles.bars(
            ["a", "b"],
            np.array([1.0, -2.0]),
            show=str,
            errors=np.array([0.5, 0.5]),
            rival=np.array([1.5, 1.0]),
        )
    )
    assert "var(--loss)" not in up
    assert "var(--loss)" in both
    assert "var(--neutral)" in both


def test_the_names_of_many_bars_are_thinned() -> None:
    names = [str(2000 + place) for place in range(40)]
    picture = _svg(profiles.bars(names, np.ones(40), show=str))
    assert ">2000<" in picture
    assert sum(f">{name}<" in picture for name in names) <= 11


def test_ranges_name_their_rows_and_mark_the_strategy() -> None:
    low, middle, high = (np.array([at, at + 0.1]) for at in (-0.4, 0.0, 0.4))
    draw = profiles.ranges(
        ["random", "<b>"], low, middle, high, mark=Mark(0.8, "strategy +0.80"), unit="Sharpe"
    )
    picture = _svg(draw)
    for text in (">random<", ">&lt;b&gt;<", ">strategy +0.80<", ">Sharpe<"):
        assert text in picture
