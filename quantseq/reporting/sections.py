"""The sections of a backtest's page, each from a `Run` to the blocks it shows.

Owns their order, wording and choice; what cannot be shown is a sentence that says why. Every figure comes
from the run or from the trading and evaluation rooms.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd

from quantseq.evaluation.scores import COVERAGES, LEAST_SHOWN, negligible
from quantseq.evaluation.significance import profit_by_confidence
from quantseq.market.bars import Dates, Floats
from quantseq.reporting import charts, page
from quantseq.reporting.page import (
    DASH,
    SPACE,
    Block,
    Cell,
    Figure,
    Key,
    Section,
    Sheet,
    between,
    bps,
    count,
    figure,
    iso,
    known,
    listing,
    number,
    over_time,
    p_value,
    percent,
    plain,
    plural,
    section,
    sheet,
    spread,
)
from quantseq.reporting.run import Run
from quantseq.trading import metrics
from quantseq.trading.attribution import ACCOUNT
from quantseq.trading.backtest import at_cost, drift
from quantseq.trading.costs import MOST_BPS
from quantseq.trading.inference import HEADLINES, psr, trial_spread
from quantseq.trading.metrics import METRICS, wealth

SCORE_NAMES = {"log_score": "log score", "crps": "CRPS"}
# Sessions up to the cutoff in a fan chart: a forecast with fewer is not picked, and no more are drawn.
LEAST_HISTORY, HISTORY = 15, 40
_BOTH = ("strategy", "buy-and-hold")
_BENCHMARK = Key("ink", "line", "buy-and-hold")
_ENDS = 5  # best and worst trades in the table
_NEEDED = 0.95  # deflated Sharpe ratio that an edge must exceed
_SLICES = 20  # of the PIT's histogram
_STRIPS = 8  # symbols whose positions are drawn; the table has all
_WINDOW = 126  # sessions of the rolling figures: half a year
_NOTHING = LEAST_SHOWN["log_score"]  # nats a day that would be printed as 0.0000
_NO_RETURNS = "The strategy's returns are all empty."

_signed = partial(number, sign=True)
_gain = partial(percent, sign=True)
_gain2 = partial(percent, digits=2, sign=True)


def backtest_page(run: Run) -> page.Page:
    """The page of a backtest in its parts, in the order in which it is read."""
    parts = (_cards, _growth, _luck, _costs, _forecast, _returns, _risk, _trades, _regimes)
    footer = "Backtests are simulations on past prices and no advice. Made by quantseq from the run folder "
    footer += f"{run.manifest['run_id']}; the same folder gives the same page."
    return page.Page(_header(run), [*(part(run) for part in parts), _evidence(run)], footer)


def metric_text(name: str, value: Any) -> str:
    """A figure of the registry with its sign and unit."""
    unit = METRICS[name].unit if name in METRICS else "ratio"
    sign = name not in ("volatility", "hit_rate", "psr", "dsr")
    if unit == "fraction":
        daily = name in ("var_95", "es_95", "best_day", "worst_day")
        return percent(value, 2 if daily else 1, sign=sign)
    if unit == "sessions":
        return DASH if known(value) is None else f"{count(value)}{SPACE}sessions"
    return number(value, sign=sign)


def _metric_cells(run: Run, name: str) -> list[Cell]:
    """A stored figure of the strategy, its interval, and the benchmark's, as `quantseq verify` knows them."""
    show, intervals = partial(metric_text, name), run.result.get("intervals") or {}
    interval = Cell(spread(*ends(intervals.get(name)), show), figure=f"interval.{name}")
    own, other = (
        _cell(show, f"{who}.{name}", run.metrics(who).get(name))
        for who in ("strategy", "buy_and_hold")
    )
    return [own, interval, other]


def metric_label(name: str) -> str:
    """A figure's name as it is printed."""
    return METRICS[name].label if name in METRICS else name


def ends(interval: Any) -> tuple[float | None, float | None]:
    """Both ends of a stored interval, or None for what is unknown."""
    low, high = interval or (None, None)
    return known(low), known(high)


def _floats(values: Any) -> Floats:
    return np.asarray(values, dtype=np.float64)


def _days(index: Any) -> Dates:
    dates: Dates = pd.DatetimeIndex(index).to_numpy().astype("datetime64[D]")
    return dates


def _points(value: Any) -> str:
    return DASH if known(value) is None else f"{number(value, 1, sign=True, factor=100)} points"


def _audit(run: Run) -> Mapping[str, Any]:
    return run.result.get("audit") or {}


def _pair(run: Run, names: Sequence[str] = ("strategy_net", "buy_and_hold")) -> dict[str, Any]:
    """Daily returns of the strategy and its benchmark, as far as the run has them."""
    found = {label: run.daily(name) for label, name in zip(_BOTH, names, strict=True)}
    return {label: series for label, series in found.items() if series is not None}


def _measured(run: Run, name: str, series: Mapping[str, Any]) -> dict[str, str]:
    """A figure of each series as text."""
    return {
        who: metric_text(name, METRICS[name](one, periods=run.periods))
        for who, one in series.items()
    }


def from_start(columns: Mapping[str, Any], first: float) -> pd.DataFrame:
    """Paths side by side, with their value before the first session."""
    frame = pd.DataFrame(columns)
    start = pd.DataFrame(first, [frame.index[0] - pd.Timedelta(days=1)], frame.columns)
    return pd.concat([start, frame]).rename_axis("date")


# The header, and the headline figures.


def header(
    run: Run, command: str, span: str, badges: Sequence[Cell], edge: bool, *answer: str
) -> page.Header:
    """What a run is about: its symbols if they fit into a line, its span, how it was made, and the answer."""
    manifest, symbols = run.manifest, run.symbols
    above = [f"quantseq {command}", f"run {manifest['run_id']}", str(manifest.get("created") or "")]
    few = len(symbols) <= 12
    universe = listing(symbols) if few else f"{len(symbols)} symbols, listed under Manifest"
    span = f"out of sample {iso(manifest['test_start'])} to {iso(manifest['test_end'])}, {span}"
    sample = [Cell("bundled sample data", "warn")] if manifest.get("sample_data") else []
    eyebrow, title = " · ".join(part for part in above if part), str(manifest["title"])
    return page.Header(title, eyebrow, universe, span, [*sample, *badges], edge, *answer)


def gate_badges(gate: Mapping[str, Any] | None) -> list[Cell]:
    """Whether the architecture has passed the copy gate; nothing where that is not known."""
    if not gate or not gate.get("passed"):
        return [Cell("copy gate not passed", "warn")] if gate else []
    score, bar = (percent(gate.get(name)) for name in ("score", "bar"))
    return [Cell(f"copy gate passed: {score} exact, {bar} needed", "good")]


def _header(run: Run) -> page.Header:
    sentence, edge = str(run.verdict.get("sentence") or ""), run.verdict.get("edge") is True
    answer = "Edge found" if edge else "No edge found" if sentence else "No verdict"
    sentence = sentence or "This run was not judged: result.json holds no verdict."
    sessions = plural(len(run.equity), "session")
    return header(run, "backtest", sessions, _badges(run), edge, answer, sentence)


def _badges(run: Run) -> list[Cell]:
    found, cost, fill = _audit(run), known(run.manifest.get("cost_bps")), run.manifest.get("fill")
    charged = f"{cost:g}{SPACE}bps of every trade charged" if cost else "no trading costs charged"
    badges = [Cell("costs not recorded" if cost is None else charged, "" if cost else "warn")]
    badges += [Cell(f"decided at the close, filled at the next {fill}")] if fill else []
    badges += gate_badges(run.result.get("gate"))
    checks = found.get("checks") or []
    failed = ", ".join(plain(one.get("name")) for one in checks if not one.get("passed")) or DASH
    said, tone = f"look-ahead audit failed: {failed}", "warn"
    if found.get("passed") is True:
        said, tone = f"look-ahead audit passed: {len(checks)} checks", "good"
    badges.append(Cell(said if found else "not audited for look-ahead", tone))
    return [*badges, Cell("returns inside: quantseq verify")]


def _cards(run: Run) -> Section:
    items: list[list[str | Cell]] = []
    for name in (name for name in HEADLINES if name in run.metrics("strategy")):
        own, interval, other = _metric_cells(run, name)
        text = "" if interval.text == DASH else f"95 %: {interval.text}"
        items.append([metric_label(name), own, text, f"buy-and-hold {other.text}"])
    shown = page.Cards(items) if items else "This run stored no figures."
    return section("figures", "Headline figures", shown, lead="Strategy net of costs.")


# How money grew.


def _growth(run: Run) -> Section:
    pair = _pair(run)
    if "strategy" not in pair:
        return section("growth", "Growth", _NO_RETURNS)
    blocks = (_equity(run, pair), _drawdown(pair), _exposure(run), _positions(run))
    return section("growth", "Growth", *blocks)


def _equity(run: Run, pair: Mapping[str, Any]) -> Figure:
    paths = {name: pd.Series(wealth(one), one.index) for name, one in pair.items()}
    yearly, last = _measured(run, "cagr", pair), {n: number(p.iloc[-1]) for n, p in paths.items()}
    reading = f"1.00 became {last['strategy']} net of costs, {yearly['strategy']} a year; "
    if "buy-and-hold" in pair:
        reading += f"buy-and-hold became {last['buy-and-hold']}, {yearly['buy-and-hold']} a year."
    else:
        reading += "this run stored no benchmark."
    frame, (ribbon, said) = from_start(paths, 1.0), _ribbon(run, pair["strategy"])
    starts = [fold.get("test_start") for fold in run.result.get("folds") or []]
    starts = [pd.Timestamp(str(start)[:10]) for start in starts if start][1:]
    marks = [mark for mark in starts if frame.index[0] <= mark <= frame.index[-1]]
    more = [] if ribbon is None else [Key("neutral", "box", said)]
    more += [Key("muted", "dots", "a new fold: everything refitted")] if marks else []
    return over_time("equity", reading, frame, more=more, marks=marks, ribbon=ribbon)


def _ribbon(run: Run, net: Any) -> tuple[pd.DataFrame | None, str]:
    """Where placebos of the strategy's volatility would have drifted, and what that is."""
    rules = run.result.get("benchmarks") or {}
    stored = (rules.get("random_entry") or {}).get("sharpe_range")
    for one in _audit(run).get("placebos") or []:
        stored = [one.get("low"), one.get("high")] if "random" in str(one.get("name")) else stored
    (low, high), volatility = ends(stored), METRICS["volatility"](net, periods=run.periods)
    if low is None or high is None or not volatility > 0:
        return None, ""
    made = partial(drift, volatility=volatility, sessions=len(net), periods=run.periods)
    edges = {n: pd.Series(made(s), net.index) for n, s in (("low", low), ("high", high))}
    said = "random entries at the strategy's volatility, steady drift at Sharpe "
    return from_start(edges, 1.0), f"{said}{_signed(low)} to {_signed(high)}"


def _drawdown(pair: Mapping[str, Any]) -> Figure:
    falls = {name: pd.Series(metrics.drawdowns(one), one.index) for name, one in pair.items()}
    worst, dot = metrics.drawdown_table(pair["strategy"], worst=1), None
    reading = "The strategy was never below an earlier high."
    if not worst.empty:
        fall = worst.iloc[0]
        dot, days = (fall["valley"], float(fall["depth"])), plural(int(fall["sessions"]), "session")
        back = "not yet back at the high" if fall["ongoing"] else f"back on {iso(fall['recovery'])}"
        reading = f"The deepest fall, {percent(fall['depth'])}, ran from {iso(fall['start'])} to "
        reading += f"{iso(fall['valley'])}; {back}, {days} below the old high."
    more = [Key("loss", "dot", "deepest point")] if dot else []
    return over_time("drawdown", reading, from_start(falls, 0.0), more=more, dot=dot)


def _exposure(run: Run) -> Figure | str:
    exposure = run.daily("gross_exposure")
    if exposure is None:
        return "This run stored no gross exposure."
    reading = f"On average {percent(exposure.mean(), 0)} of equity was in positions, at most "
    reading += f"{percent(exposure.max(), 0)}; the rest was cash."
    frame = exposure.to_frame("gross exposure at the close").rename_axis("date")
    return over_time("exposure", reading, frame)


def _positions(run: Run) -> Figure | str:
    if run.weights.empty:
        return "This run decided no weights, so there are no positions to show."
    table = run.weights.pivot_table("weight", "decision", "symbol", aggfunc="last").fillna(0.0)
    table.columns = pd.Index([str(symbol) for symbol in table])
    order = [s for s in run.symbols if s in table] + [s for s in table if s not in run.symbols]
    size, held = table[order].abs().mean(), (table[order] != 0).mean()
    drawn = [s for s in order if s in set(size.sort_values(kind="stable").index[-_STRIPS:])]
    facts = {"mean weight": table.mean(), "smallest": table.min(), "largest": table.max()}
    facts["held after decisions"] = held
    shown = pd.DataFrame(facts).loc[order].rename_axis("symbol")
    reading = f"{size.idxmax()} was the largest on average, {percent(size.max())} of equity; the "
    reading += f"average symbol was held after {percent(held.mean(), 0)} of the decisions."
    if len(order) > len(drawn):
        reading += f" The {len(drawn)} largest of {len(order)} are drawn."
    short = [Key("loss", "box", "short, below the line")] if (table < 0).any(axis=None) else []
    sizes = ((900, 34 + 44 * len(drawn)), (340, 34 + 40 * len(drawn)))
    looks, frame = ["accent"] * len(drawn), table[drawn].rename_axis("date")
    made = over_time("positions", reading, frame, looks=looks, sizes=sizes, more=short)
    return replace(made, shown=shown, show=_gain)


# Whether it is luck.


def _luck(run: Run) -> Section:
    verdict, title = run.result.get("verdict") or {}, "Is it luck?"
    facts, pair = page.Facts(_luck_facts(run, verdict)), [_deflated(verdict), _placebos(run)]
    return section("luck", title, _difference(verdict), facts, pair, _checks(run), _folds(run))


def _difference(verdict: Mapping[str, Any]) -> Figure | str:
    (low, high), middle = ends(verdict.get("interval")), known(verdict.get("sharpe_difference"))
    if low is None or high is None or middle is None:
        return "This run stored no interval of the Sharpe difference."
    said = "0 lies inside, so chance alone can explain the difference."
    if low > 0:
        said = "the whole interval lies above 0: chance alone rarely does that."
    elif high < 0:
        said = "the whole interval lies below 0: worse than doing nothing."
    reading = f"Difference {_signed(middle)}, interval {_signed(low)} to {_signed(high)}: {said}"
    frame = pd.DataFrame({"low": [low], "estimate": [middle], "high": [high]}, ["difference"])
    show: Any = {name: partial(_cell, _signed, f"difference.{name}") for name in frame}
    return figure("difference", reading, frame, show, of=frame.set_axis([""]))


def _cell(show: Any, figure: str, value: Any) -> Cell:
    """A printed number under the name by which `quantseq verify` computes it again."""
    return Cell(show(value), figure=figure)


def _luck_facts(run: Run, verdict: Mapping[str, Any]) -> list[tuple[str, str | Cell]]:
    net, sessions = run.daily("strategy_net"), len(run.equity)
    scatter, spa = known(verdict.get("trial_sd")), known(verdict.get("spa_p"))
    own = verdict.get("psr", None if net is None else psr(net))
    record = "not stored for this run"
    if (needed := known(verdict.get("min_track_record"))) is not None:
        record = f"{count(np.ceil(needed))} at this Sharpe ratio; this run has {count(sessions)}"
    elif "min_track_record" in verdict:
        record = "no number would do: the Sharpe ratio is not above 0"
    trials = f"{count(verdict.get('n_trials'))}, from the ledger of every backtest in this folder"
    if scatter is not None:
        chance = trial_spread([], sessions) if sessions > 1 else np.nan
        if np.isclose(scatter, chance, rtol=1e-9, atol=0):
            trials += "; they show no scatter, so that of chance is taken, "
            trials += f"{number(scatter, 4)} in Sharpe per session"
        else:
            trials += f"; their Sharpe ratios per session scatter by {number(scatter, 4)}"
    superior = f"p {p_value(spa)}, by Hansen over everything tried on these sessions"
    rule = "an edge is claimed only if the whole interval lies above 0, the DSR exceeds 95 %, the look-ahead "
    rule += "audit passes and the ledger is whole"
    deflated = f"{percent(verdict.get('dsr'))}; an edge needs more than {percent(_NEEDED, 0)}"
    seeds = "; how much a seed matters is not known from one run"
    return [
        ("Probability that the true Sharpe is above 0 (PSR)", Cell(percent(own), figure="psr")),
        ("The same, discounted for all trials (DSR)", deflated),
        ("Trials counted", trials),
        ("Test that nothing tried beats buy-and-hold (SPA)", superior if spa is not None else DASH),
        ("Sessions needed for a PSR of 95 %", record),
        ("Ledger", plain(verdict.get("ledger"))),
        ("Seeds", _pairs(run.manifest.get("seeds")) + seeds),
        ("Rule", rule),
    ]


def _deflated(verdict: Mapping[str, Any]) -> Figure | str:
    points = pd.DataFrame(verdict.get("dsr_curve") or [], columns=["n", "dsr"], dtype=np.float64)
    points = points.dropna().sort_values("n").set_index("n")
    points = points.set_axis(["DSR"], axis=1).rename_axis("trials")
    if len(points) < 2:
        return "This run stored no curve of the deflated Sharpe against trials."
    trials, passing = known(verdict.get("n_trials")), points.index[points["DSR"] > _NEEDED]
    reading = "Not even as the only trial would it exceed 95 %."
    if len(passing):
        reading = f"It would exceed 95 % with up to {plural(int(passing.max()), 'trial')}."
    if trials is not None:
        tried = f"After the {plural(int(trials), 'trial')} in the ledger"
        reading = f"{tried} {percent(verdict.get('dsr'))} are left. {reading}"
    mark = None if trials is None else charts.Mark(trials, f"N = {trials:.0f}")
    show = {"trials": count, "DSR": percent}
    return figure("deflated", reading, points, show, how={"mark": mark})


def _placebos(run: Run) -> Figure | str:
    own, stored = known(run.metrics("strategy").get("sharpe")), _audit(run).get("placebos") or []
    found = pd.DataFrame(stored, columns=["name", "low", "sharpe", "high", "n"]).set_index("name")
    found = found.dropna(subset=["low", "sharpe", "high"]).rename_axis("")
    if found.empty or own is None:
        return "This run stored no placebos to compare with."
    reading = f"The strategy's Sharpe ratio is {_signed(own)}."
    if (rank := known(_audit(run).get("rank"))) is not None:
        reading += f" It beats {percent(rank)} of all placebos, a tie counting half."
    mark = charts.Mark(own, f"strategy {_signed(own)}", "accent")
    named = found.iloc[:, :3].set_axis([plain(name) for name in found.index])
    show, tall = dict.fromkeys(named, _signed) | {"n": count}, 130 + 30 * len(found)
    changes: Any = {"of": named, "how": {"mark": mark}, "sizes": ((440, tall), (340, tall))}
    return figure("placebos", reading, found, show, **changes)


def _checks(run: Run) -> Sheet | str:
    checks = _audit(run).get("checks") or []
    if not checks:
        return "This run was not audited for look-ahead."
    rows = []
    for one in checks:
        result = Cell("passed") if one.get("passed") else Cell("failed", "loss")
        rows.append([plain(one.get("name")), result, str(one.get("reading") or "")])
    failed = sum(not one.get("passed") for one in checks)
    said = f"All {len(checks)} checks passed: nothing that was decided knew what came after."
    if failed:
        said = f"{plural(failed, 'check')} of {len(checks)} failed: the result may not be claimed."
    return sheet("checks", rows, said=said)


def fold_cells(fold: Mapping[str, Any], place: int) -> list[str]:
    """Number, training, validation and test block of a fold."""
    parts = ("train", "validation", "test")
    spans = (between(fold.get(f"{part}_start"), fold.get(f"{part}_end")) for part in parts)
    return [str(fold.get("fold", place)), *spans]


def _folds(run: Run) -> Sheet | str:
    """Who was trained on what, tested where, and what came of it."""
    folds, pair, rows, counts, ahead = run.result.get("folds") or [], _pair(run), [], [], []
    if not folds:
        return "This run stored no folds."
    for place, fold in enumerate(folds):
        parts = {}
        if fold.get("test_start") and fold.get("test_end"):
            span = slice(str(fold["test_start"]), str(fold["test_end"]))
            parts = {name: series.loc[span] for name, series in pair.items()}
        sharpe: Any = [known(METRICS["sharpe"](x, periods=run.periods)) for x in parts.values()]
        ahead += [sharpe[0] > sharpe[1]] if len(sharpe) == 2 and None not in sharpe else []
        found = (_measured(run, name, parts) for name in ("total_return", "sharpe"))
        texts = [one.get(who, DASH) for one in found for who in _BOTH]
        name, *spans = fold_cells(fold, place)
        rows.append([name, *spans, percent(fold.get("kept_weight"), 0), *texts])
        counts.append([name, *(count(fold.get(key)) for key in ("purge", "n_train", "n_test"))])
    said = f"{plural(len(folds), 'fold')}, tested one after the other"
    if ahead:
        said += f", better than buy-and-hold by Sharpe ratio in {sum(ahead)} of {len(ahead)}"
    return sheet("folds", rows, said=said, more=counts)


# Whether it is tradable.


def _costs(run: Run) -> Section:
    title, pair = "Is it tradable?", _pair(run, ("strategy_net", "strategy_gross"))
    if len(pair) < 2:
        return section("costs", title, "This run stored no returns before costs.")
    (net, gross), rows = pair.values(), []
    for name in ("cagr", "volatility", "sharpe", "total_return"):
        before, after = (METRICS[name](series, periods=run.periods) for series in (gross, net))
        show = _gain if name == "volatility" else partial(metric_text, name)
        texts = [metric_text(name, value) for value in (before, after)]
        rows.append([metric_label(name), *texts, show(after - before)])
    first = [sheet("costs", rows, said=_cost_reading(run)), _netting(gross, net)]
    second = [_cost_sweep(run, net), _decay(run)]
    return section("costs", title, first, second, *_benchmarks(run), *_attribution(run))


def _cost_reading(run: Run) -> str:
    parts, turnover, cost = [], run.daily("turnover"), run.daily("cost")
    if turnover is not None:
        yearly = number(turnover.mean() * run.periods, 1)
        parts.append(f"Buys and sales came to {yearly} × equity a year")
    if cost is not None:
        parts.append(f"costs took {percent(cost.mean() * run.periods, 2)} of equity a year")
    text = ", ".join(parts) + ". " if parts else ""
    level, told = known(run.result.get("break_even_bps")), break_even(run.result, turnover)
    text += f"{bps(run.manifest.get('cost_bps'))} of every trade charged; "
    if level is None or level >= MOST_BPS:
        return f"{text}break-even cost: {told}."
    return f"{text}above {told} the strategy would have earned less than cash."


def break_even(result: Mapping[str, Any], turnover: Any = None) -> str:
    """The cost at which the strategy earns no more than cash, or why there is none, in a few words."""
    level = known(result.get("break_even_bps"))
    if level is not None:
        return "more than the whole notional" if level >= MOST_BPS else bps(level)
    if "break_even_bps" not in result:
        return "not stored for this run"
    if turnover is not None and not np.nansum(turnover):
        return "none, it never traded"
    return "none, it earns less than cash without any"


def _netting(gross: Any, net: Any) -> Figure:
    before, after = (pd.Series(wealth(series), series.index) for series in (gross, net))
    lost = 1 - after.iloc[-1] / before.iloc[-1] if before.iloc[-1] else np.nan
    reading = f"Of {number(before.iloc[-1])} before costs, {number(after.iloc[-1])} were left; costs took "
    reading += f"{percent(lost, 2)} of the final value."
    frame = pd.DataFrame({"after costs": after, "before costs": before}).rename_axis("date")
    return over_time("netting", reading, frame)


def _cost_sweep(run: Run, net: Any) -> Figure | str:
    """CAGR at other costs, and where it is gone."""
    turnover, charged = run.daily("turnover"), known(run.manifest.get("cost_bps"))
    if turnover is None or charged is None:
        return "This run stored no turnover, so it is not priced at other costs."
    level, told = known(run.result.get("break_even_bps")), break_even(run.result, turnover)
    most = max(20.0, 2 * charged, 0.0 if level is None else 1.25 * min(level, 200.0))
    round_ones = [c for c in (0, 1, 2, 5, 10, 15, 20, 30, 40, 50) if c <= most]
    asked = np.unique([*round_ones, charged, most])
    priced = [at_cost(net, turnover, charged_bps=charged, cost_bps=cost) for cost in asked]
    frame = pd.DataFrame(index=pd.Index(asked, name="cost"))
    for name in ("cagr", "sharpe"):
        frame[metric_label(name)] = [METRICS[name](one, periods=run.periods) for one in priced]
    drawn = level is not None and level <= most
    mark = charts.Mark(level or 0.0, f"break-even {bps(level)}") if drawn else None
    said = (
        f"Break-even cost: {told}"
        if level is None
        else f"Break-even at {told}, solved on re-run accounts"
    )
    reading = f"{said}; {bps(charged)} were charged. The line takes the same trades at each cost, at first order."
    more = [Key("loss", "dash", "break-even cost")] if mark else []
    show: Any = {"cost": bps, "CAGR": _gain, "Sharpe ratio": _signed}
    changes: Any = {"of": frame.iloc[:, :1], "how": {"mark": mark}, "more": more}
    return figure("sweep", reading, frame, show, **changes)


def _decay(run: Run) -> Figure | str:
    """Sharpe ratio when every decision is carried out later."""
    curve = pd.DataFrame(_audit(run).get("lag_curve") or [], columns=["delay", "sharpe"])
    curve = curve.astype(np.float64).dropna().sort_values("delay").set_index("delay")
    curve = curve.set_axis(["Sharpe ratio"], axis=1)
    if len(curve) < 2:
        return "This run stored no lag curve, so how fast it decays is not known."
    first, last = curve["Sharpe ratio"].iloc[[0, -1]]
    longest = plural(int(curve.index[-1]), "session")
    reading = f"{_signed(first)} without delay, {_signed(last)} with {longest}. A cliff at the first step would "
    reading += "mean that the result lives on timing that nobody has."
    show: Any = {"delay": lambda delay: plural(int(delay), "session"), "Sharpe ratio": _signed}
    return figure("decay", reading, curve, show, how={"ticks": curve.index.tolist()})


def _benchmarks(run: Run) -> list[Block]:
    """Rules that need no forecast, over the same sessions at the same costs."""
    rules, turned = run.result.get("benchmarks") or {}, run.daily("turnover")
    if not rules:
        return []
    shown = ("cagr", "volatility", "sharpe", "max_drawdown")
    own: dict[str, Any] = {"label": "Strategy", "metrics": run.metrics("strategy")}
    own["turnover"] = None if turned is None else turned.mean() * run.periods
    rows, sources = [], []
    for one in (own, *rules.values()):
        texts = [metric_text(name, (one.get("metrics") or {}).get(name)) for name in shown]
        rows.append([plain(one.get("label")), *texts, number(one.get("turnover"), 1)])
        sources.append([rows[-1][0], str(one.get("formula") or ""), str(one.get("source") or "")])
    low, high = map(_signed, ends((rules.get("random_entry") or {}).get("sharpe_range")))
    said = f" Nine in ten random entries had a Sharpe ratio between {low} and {high}."
    heads = ["", *map(metric_label, shown), "turnover a year"]
    words: Any = {"said": "" if DASH in (low, high) else said, "columns": heads, "strong": 0}
    return [sheet("benchmarks", rows, more=sources[1:], **words)]


def _attribution(run: Run) -> list[Block]:
    """Profit by symbol, side and cost."""
    parts = pd.DataFrame(run.result.get("attribution") or [])
    if parts.empty:
        return []
    parts = parts.set_index("symbol").astype(np.float64).fillna(0.0)
    parts = parts[(parts != 0).any(axis=1) | (parts.index != ACCOUNT)]
    parts = parts[[k for k in parts if k in ("long", "short", "total") or (parts[k] != 0).any()]]
    several = zip([*parts.index, "all"], [*parts.to_numpy(), parts.sum()], strict=True)
    rows = [[str(name), *map(_gain2, row)] for name, row in several]
    heads = ["", *(str(kind).replace("_", " ") for kind in parts)]
    return [sheet("attribution", rows[:-1], columns=heads, totals=rows[-1:])]


# Whether the forecast earned it.


def _forecast(run: Run) -> Section:
    found = run.result.get("forecast") or {}
    models, tests = found.get("models") or {}, found.get("tests") or []
    first = _next_day(run)
    pits = _floats(first["pit"].dropna())
    return section(
        "forecast",
        "Did the forecast earn it?",
        score_sheet(models, run.model) if models else "This run stored no forecast scores.",
        test_sheet(tests) if tests else "This run stored no tests against baselines.",
        [coverage_figure(models.get(run.model)), pit_figure(pits)],
        [reliability_figure({run.model: pits}, page.HALF), _confidence(first)],
        gallery(*_fans(run)),
        lead=_forecast_lead(run, known(found.get("skill_nats"))),
    )


def _forecast_lead(run: Run, skill: float | None) -> str:
    parts = []
    if skill is not None and abs(skill) < _NOTHING:
        parts.append("The network added nothing measurable to the econometric reference.")
    elif skill is not None:
        verb, to = ("added", "to") if skill >= 0 else ("lost", "against")
        gain = f"{verb} {number(abs(skill), 4)} nats a day {to}"
        parts.append(f"The network {gain} the econometric reference it starts from.")
    kept = [known(fold.get("kept_weight")) for fold in run.result.get("folds") or []]
    shares = [share for share in kept if share is not None]
    if shares:
        share, over = percent(float(np.mean(shares)), 0), plural(len(shares), "fold")
        parts.append(f"Validation kept {share} of what it had to say, on average over {over}.")
    return " ".join(parts)


def score_sheet(models: Mapping[str, Any], main: str) -> Sheet:
    """Every model's scores of the next step, best first, `main` standing out."""
    scores = {name: known(one.get("log_score")) for name, one in models.items()}
    order = {name: np.inf if score is None else score for name, score in scores.items()}
    names, rows = sorted(models, key=lambda name: order[name]), []
    for name in names:
        one = models[name]
        row = [number(one.get("log_score"), 4, sign=True), number(one.get("crps"), factor=1e4)]
        row += [percent(one.get(f"coverage_{level}")) for level in COVERAGES]
        rows.append([name, *row, number(one.get("pit_ks"), 3), count(one.get("n"))])
    said, strong = "", names.index(main) if main in names else -1
    if len(names) > 1 and np.isfinite(order.get(main, np.inf)):
        better = sum(order[name] < order[main] - _NOTHING for name in names)
        level = [n for n in names if n != main and abs(order[n] - order[main]) <= _NOTHING]
        tie = f", level with {' and '.join(level)}" if level else ""
        said = f"By log score, {main} is number {better + 1} of {len(names)}{tie}. "
    heads = [*(f"in {level}{SPACE}% band" for level in COVERAGES), "PIT distance", "forecasts"]
    return sheet("scores", rows, columns=heads, strong=strong, said=said)


def test_side(test: Mapping[str, Any]) -> int:
    """-1 where a test shows the model to be better, 1 where worse, 0 where it decides nothing."""
    t, p = known(test.get("t")), known(test.get("p"))
    return 0 if t is None or p is None or p >= 0.05 or negligible(test) else int(np.sign(t))


def test_cells(test: Mapping[str, Any]) -> list[str]:
    """A test's t, p and number of days."""
    return [_signed(test.get("t")), p_value(test.get("p")), count(test.get("n_days"))]


def test_sheet(tests: Sequence[Mapping[str, Any]]) -> Sheet:
    """One line per baseline and score, one column per step; all numbers behind it.

    A step that is no number is the sum of all steps.
    """
    units = {"log_score": (1.0, 4, ", nats"), "crps": (1e4, 2, ", bps")}
    lines: dict[tuple[str, str], dict[str, Cell]] = {}
    rows, sides = [], [test_side(test) for test in tests]
    models = list(dict.fromkeys(plain(test.get("model")) for test in tests))
    for test, side in zip(tests, sides, strict=True):
        name = f"against {plain(test.get('baseline'))}"
        name = f"{plain(test.get('model'))} {name}" if len(models) > 1 else name
        kind, step = str(test.get("score")), test.get("step")
        score, step = SCORE_NAMES.get(kind, kind), "all" if isinstance(step, str) else count(step)
        factor, digits, unit = units.get(kind, (1.0, 4, ""))
        gap = number(test.get("mean_difference"), digits, sign=True, factor=factor)
        cell = Cell(f"{gap}\np {p_value(test.get('p'))}", ("up3", "", "down3")[1 + side])
        lines.setdefault((name, f"{score}{unit}"), {})[step] = cell
        rows.append([name, score, step, gap, *test_cells(test)])
    steps = list(dict.fromkeys(step for line in lines.values() for step in line))
    heads = ["all steps" if step == "all" else f"step {step}" for step in steps]
    cells = [[*names, *(line.get(s, Cell(DASH)) for s in steps)] for names, line in lines.items()]
    found = dict(zip(("won", "lost", "open"), map(sides.count, (-1, 1, 0)), strict=True))
    words: Any = {"models": listing(models), "all": plural(len(tests), "comparison"), **found}
    return sheet("tests", cells, columns=heads, more=rows, **words)


def coverage_figure(scores: Mapping[str, Any] | None) -> Figure | str:
    """How often each central band held."""
    found = {level / 100: known((scores or {}).get(f"coverage_{level}")) for level in COVERAGES}
    held = pd.Series({b: s for b, s in found.items() if s is not None}, dtype=np.float64)
    if held.empty:
        return "This run stored no coverage."
    gaps, near = held - held.index, min(held.index, key=lambda band: abs(band - 0.9))
    worst: Any = gaps.abs().idxmax()
    reading = (
        f"The {percent(near, 0)} band held {percent(held[near])} of the days; the largest miss is "
    )
    reading += f"{_points(gaps[worst])}, at {percent(worst, 0)}."
    frame, whole = pd.DataFrame({"held": held, "difference": gaps}), partial(percent, digits=0)
    show: Any = {"band": whole, "held": percent, "difference": _points}
    how = {"label": percent, "marks": _floats(held.index)}
    return figure(
        "coverage", reading, frame.rename_axis("band"), show, of=held.rename(whole), how=how
    )


def pit_figure(pits: Floats) -> Figure | str:
    """Histogram of the next step's PIT values, with at least two outcomes per slice."""
    if len(pits) < 2 * _SLICES:
        return "This run lacks PIT values, so where outcomes fell is not drawn."
    counts = np.histogram(pits, bins=_SLICES, range=(0, 1))[0]
    shares, reach = counts / (len(pits) / _SLICES), 1.96 * np.sqrt((_SLICES - 1) / len(pits))
    inside, edges = np.abs(shares - 1) <= reach, np.arange(_SLICES + 1) / _SLICES
    names = [f"{low:.2f} to {high:.2f}" for low, high in pairwise(edges)]
    frame = pd.DataFrame({"outcomes": counts, "against expected": shares}, names)
    frame = frame.rename_axis("slice of probability")
    reading = f"{inside.sum()} of {_SLICES} slices lie in the 95 % band of a calibrated forecast, drawn as if "
    reading += "all outcomes were independent; symbols of one day are not."
    how = {"band": (1 - reach, 1 + reach), "roles": np.where(inside, "accent", "loss")}
    show: Any = {"outcomes": count, "against expected": lambda share: f"{number(share)} ×"}
    drawn = pd.Series(shares, [f"{low:.2f}" for low in edges[:-1]])
    return figure("pit", reading, frame, show, of=drawn, how=how)


def reliability_figure(pits: Mapping[str, Floats], sizes: Sequence[charts.Size]) -> Figure | str:
    """Share of outcomes below each level less the level, one step ahead; the first model stands out."""
    main, levels = next(iter(pits)), np.linspace(0, 1, 101)
    drawn = {name: np.sort(values) for name, values in pits.items() if len(values) >= 2 * _SLICES}
    if main not in drawn:
        return "Too few outcomes are known, so reliability is not drawn."
    frame = pd.DataFrame(index=pd.Index(levels, name="level"))
    for name, one in drawn.items():
        frame[name] = np.searchsorted(one, levels, "right") / len(one) - levels
    worst: Any = frame[main].abs().idxmax()
    side = "more" if frame[main][worst] > 0 else "fewer"
    reading = f"The largest gap of {main} is {_points(frame[main][worst])}, at the "
    reading += f"{percent(worst, 0)} quantile: {side} outcomes lay below it than forecast."
    changes: Any = {"shown": frame.iloc[[1, 5, 10, 25, 50, 75, 90, 95, 99]], "sizes": sizes}
    show = dict.fromkeys(map(str, frame), _points) | {"level": partial(percent, digits=0)}
    return figure("reliability", reading, frame, show, of=100 * frame, **changes)


def _confidence(first: pd.DataFrame) -> Figure | str:
    """Profit of following the forecast's sign, by how sure it was."""
    none = "No forecast calls a direction, so there is no confidence to sort profits by."
    if not {"prob_up", "realised"} <= set(first):
        return none
    first = first.sort_values(["cutoff", "symbol"], kind="stable")
    sure, came = _floats(first["prob_up"]), _floats(first["realised"])
    deciles = profit_by_confidence(sure, came, _days(first["cutoff"]), groups=10)
    if not deciles:
        return none
    names = [str(place) for place in range(1, len(deciles) + 1)]
    frame = pd.DataFrame([vars(one) for one in deciles], pd.Index(names, name="tenth"))
    frame = frame[["value", "t", "p", "n_days"]].set_axis(["mean profit", "t", "p", "days"], axis=1)
    earned = frame["mean profit"]
    error = (earned / frame["t"]).abs().replace(np.inf, np.nan).fillna(0.0)
    basis = partial(bps, sign=True, factor=1e4)
    show: Any = {"mean profit": basis, "t": _signed, "p": p_value, "days": count}
    told = "is" if abs(known(frame["t"].iloc[-1]) or 0.0) >= 2 else "is not"
    most, least = (basis(earned.iloc[place]) for place in (-1, 0))
    reading = f"Following the surest tenth earned {most} a session before costs, the least sure "
    reading += f"{least}; the surest {told} told from 0 by two errors."
    how = {"errors": 2e4 * _floats(error)}
    return figure("confidence", reading, frame, show, of=1e4 * earned, how=how)


def picks(amount: int) -> dict[str, int]:
    """Which of `amount` forecasts, ranked from the lowest CRPS, a gallery shows; none of fewer than 3.

    Examples
    --------
    >>> picks(9), picks(2)
    ({'best': 0, 'median': 4, 'worst': 8}, {})
    """
    return {"best": 0, "median": amount // 2, "worst": amount - 1} if amount >= 3 else {}


def gallery(fans: Sequence[Figure], of: int) -> page.Row | str:
    """Forecasts picked by rule, side by side; `of` is how many there were to pick from."""
    if not fans:
        return "No forecast has cumulative quantiles, CRPS and outcome, so none is drawn."
    legend = [Key("neutral", "line", "adjusted close")]
    legend += [
        Key("accent", "box", "forecast bands and median"),
        Key("ink", "line", "what happened"),
    ]
    reading = f"Lowest, middle and highest mean CRPS over the steps, of {count(of)} forecasts."
    return page.Row("trio", fans, "Three forecasts, picked by rule", reading, legend)


def _fans(run: Run) -> tuple[list[Figure], int]:
    """The forecasts with the lowest, the middle and the highest CRPS, averaged over their steps."""
    keys, scores = ["symbol", "cutoff"], run.scores.loc[run.scores["model"] == run.model]
    names = sorted(str(name) for name in run.forecasts if re.fullmatch(r"cum_q\d{2,}", str(name)))
    if len(names) < 3 or not {"crps", "realised"} <= set(scores):
        return [], 0
    scores = scores[[*keys, "step", "crps", "realised"]]
    rows = run.forecasts[[*keys, "step", *names]].merge(scores, on=[*keys, "step"])
    whole, groups = rows.notna().all(axis=1), [rows["symbol"].astype(str), rows["cutoff"]]
    mean = rows["crps"].groupby(groups).mean()[whole.groupby(groups).all()]
    closes: dict[str, Any] = {symbol: run.daily(f"close:{symbol}") for symbol in run.symbols}
    past = {
        s: set(c.dropna().index[LEAST_HISTORY - 1 :]) for s, c in closes.items() if c is not None
    }
    shown = [cutoff in past.get(symbol, ()) for symbol, cutoff in mean.index]
    ranked, fans = mean[shown].sort_values(kind="stable"), []
    levels = np.array([int(name[5:]) / 10 ** len(name[5:]) for name in names])
    for name, place in picks(len(ranked)).items():
        symbol, cutoff = ranked.index[place]
        part = rows.loc[(rows["symbol"] == symbol) & (rows["cutoff"] == cutoff)].sort_values("step")
        history = closes[symbol].loc[:cutoff].dropna().iloc[-HISTORY:]
        labels, last = [f"+{step}" for step in part["step"]], history.iloc[-1]
        moved = last * np.exp(_floats(part[names]))
        came = last * np.exp(np.cumsum(_floats(part["realised"])))
        dates, prices = _days(history.index), _floats(history)
        fan = charts.Fan(symbol, dates, prices, labels, levels, moved, came)
        fans.append(fan_figure(name, fan, float(ranked.iloc[place])))
    return fans, len(ranked)


def fan_figure(name: str, fan: charts.Fan, crps: float) -> Figure:
    """One forecast of a gallery: `name` says why it was picked, `crps` is the mean over its steps."""
    assert fan.realised is not None, "only forecasts with outcomes are ranked"
    columns = pd.Index([percent(level, 0) for level in fan.levels])
    frame = pd.DataFrame(fan.prices, pd.Index(fan.labels, name="step"), columns)
    frame["realised"] = fan.realised
    inside = int(frame["realised"].between(frame.iloc[:, 0], frame.iloc[:, -2]).sum())
    band, days = percent(fan.levels[-1] - fan.levels[0], 0), plural(len(fan.labels), "session")
    reading = f"From {fan.dates[-1]} on, in the {band} band on {inside} of {days}; mean CRPS "
    reading += f"{bps(crps, factor=1e4)}."
    shown = frame.iloc[:, [0, len(fan.levels) // 2, -2, -1]]
    words = {"pick": name.capitalize(), "symbol": fan.symbol}
    return figure(f"fan.{name}", reading, frame, draw=fan.draw, words=words, shown=shown)


# Months, years and days.


def _returns(run: Run) -> Section:
    pair = _pair(run)
    if "strategy" not in pair:
        return section("returns", "Returns", _NO_RETURNS)
    tables = {name: metrics.monthly_table(series) for name, series in pair.items()}
    years = pd.DataFrame({n: table["year"] for n, table in tables.items()}).rename_axis("year")
    up, marks = int((years["strategy"] > 0).sum()), None
    reading = f"{up} of {plural(len(years), 'calendar year')} ended higher; the first and the last "
    if len(pair) > 1:
        marks = _floats(years["buy-and-hold"])
    more: Any = {"of": years["strategy"], "how": {"marks": marks}}
    more["more"] = [_BENCHMARK] * (len(pair) - 1)
    drawn = figure("years", f"{reading}may be in part.", years, _gain, **more)
    months = _months(tables["strategy"], years)
    return section("returns", "Returns", months, [drawn, _distribution(pair)])


def _months(table: pd.DataFrame, years: pd.DataFrame) -> Sheet:
    bare = partial(number, digits=1, sign=True, factor=100)

    def tint(value: Any) -> Cell:
        depth = int(np.searchsorted((0.005, 0.02, 0.04, 0.08), abs(value), "right"))
        tone = f"{'up' if value > 0 else 'down'}{depth}" if np.isfinite(value) and depth else ""
        return Cell(bare(value), tone)

    months, whole, columns = _floats(table[list(range(1, 13))]), years["strategy"], years.copy()
    flat, higher = int((np.abs(months) < 0.0005).sum()), int((months >= 0.0005).sum())
    said = f"{higher} of {plural(int(np.isfinite(months).sum()), 'month')} ended higher"
    said += f", {flat} flat." if flat else "."
    if len(years) > 1:
        said += f" Of {len(years)} calendar years the best was {whole.idxmax()} with {_gain(whole.max())}, "
        said += f"the worst {whole.idxmin()} with {_gain(whole.min())}."
    if "buy-and-hold" in years:
        columns["difference"] = whole - years["buy-and-hold"]
        won = int((columns["difference"] > 0).sum())
        said += f" It beat buy-and-hold in {won} of them." if len(years) > 1 else ""
    several = zip(years.index, months, columns.to_numpy(), strict=True)
    rows = [[str(year), *map(tint, each), *map(bare, row)] for year, each, row in several]
    return sheet("months", rows, columns=list(columns.columns[1:]), said=said)


def _histogram(key: str, reading: str, series: Mapping[str, Any], reach: float) -> Figure:
    """How many returns fell where; the outer of 31 bars hold everything beyond `reach`."""
    edges = np.linspace(-max(reach, 1e-4), max(reach, 1e-4), 32)
    clipped = {name: one.clip(*edges[[0, -1]]) for name, one in series.items()}
    counts = {name: np.histogram(one, edges)[0] for name, one in clipped.items()}
    own, *others = counts.values()
    names = [spread(*both, _gain2) for both in pairwise(edges)]
    frame = pd.DataFrame(counts, pd.Index(names, name="return"))
    roles = ["loss"] * 15 + ["neutral"] + ["accent"] * 15
    drawn = pd.Series(own, [percent(middle) for middle in (edges[:-1] + edges[1:]) / 2])
    how = {"roles": roles, "marks": others[0] if others else None}
    reading, more = f"{reading} The outer bars hold everything beyond.", [_BENCHMARK] * len(others)
    return figure(key, reading, frame, count, of=drawn, how=how, more=more)


def _distribution(pair: Mapping[str, Any]) -> Figure:
    net, reach = pair["strategy"], np.quantile(np.abs(np.concatenate(list(pair.values()))), 0.995)
    up, down = int((net > 0).sum()), int((net < 0).sum())
    best, worst = (metric_text(name, METRICS[name](net)) for name in ("best_day", "worst_day"))
    reading = f"{count(up)} days up, {count(down)} down, {count(len(net) - up - down)} flat; best {best}, "
    return _histogram("distribution", f"{reading}worst {worst}.", pair, float(reach))


# Risk.


def _risk(run: Run) -> Section:
    pair, own = _pair(run), run.metrics("strategy")
    blocks: list[Any] = []
    if "strategy" in pair:
        blocks = [*_rolling(run, pair), [_falls(pair["strategy"]), _tail(pair)]]
    if own:
        names = sorted(own, key=[*METRICS, *own].index)
        rows = [[metric_label(name), *_metric_cells(run, name)] for name in names]
        blocks.append(sheet("metrics", rows))
    return section("risk", "Risk", *(blocks or ["This run stored neither returns nor figures."]))


def _rolling(run: Run, pair: Mapping[str, Any]) -> list[Figure | str]:
    """Figures over a moving window, blank until it is full."""
    sessions, found = len(pair["strategy"]), list[Figure | str]()
    if sessions <= _WINDOW:
        said = f"Rolling figures need more than {_WINDOW} sessions; this run has {sessions}, so "
        return [f"{said}none is drawn."]
    for name in ("sharpe", "volatility"):
        made = partial(metrics.rolling, name, window=_WINDOW, periods=run.periods)
        frame = pd.DataFrame({who: pd.Series(made(one), one.index) for who, one in pair.items()})
        own, show = frame["strategy"].dropna(), partial(metric_text, name)
        reading = "The strategy never moved long enough for one."
        if len(own):
            reading = f"Between {show(own.min())} ({iso(own.idxmin())}) and {show(own.max())} "
            reading += f"({iso(own.idxmax())}); blank until the window is full."
        found.append(over_time(f"rolling-{name}", reading, frame.rename_axis("date")))
    return found


def _falls(net: Any) -> Sheet:
    table, rows = metrics.drawdown_table(net, worst=10), []
    for rank, fall in enumerate(table.itertuples(), start=1):
        back = "ongoing" if fall.ongoing else iso(fall.recovery)
        dates = [iso(fall.start), iso(fall.valley), back]
        rows.append([str(rank), percent(fall.depth), *dates, count(fall.sessions)])
    said = "The last value is an all-time high."
    if table.empty:
        said = "There was no session below an earlier high."
    elif table["ongoing"].any():
        said = "One of them is still ongoing: the old high has not been reached again."
    return sheet("falls", rows, said=said)


def _tail(pair: Mapping[str, Any]) -> Sheet:
    """What the worst days cost."""
    rows = [
        [metric_label(name), *(metric_text(name, METRICS[name](one)) for one in pair.values())]
        for name in ("var_95", "es_95", "worst_day", "best_day", "skew", "kurtosis")
    ]
    return sheet("tail", rows, columns=list(pair), mean=rows[1][1])


# Trades.


def _trades(run: Run) -> Section:
    table = run.trades
    if table.empty:
        return section("trades", "Trades", "This run stored no trade.")
    table = table.assign(gain=table["profit"] / table["invested"].where(table["invested"] > 0))
    won, lost = table.loc[table["profit"] > 0], table.loc[table["profit"] < 0]
    gained, given = won["profit"].sum(), -lost["profit"].sum()
    rows = [
        ["Trades", count(len(table))],
        ["of which still open", count(table["left"].isna().sum())],
        ["Won", percent(len(won) / len(table))],
        ["Mean return of the won", _gain2(won["gain"].mean())],
        ["Mean return of the lost", _gain2(lost["gain"].mean())],
        ["Profit factor", number(gained / given if given > 0 else None)],
        ["Median sessions held", count(table["sessions"].median())],
        ["Longest, sessions", count(table["sessions"].max())],
        ["Trading costs of all", _gain2(-table["cost"].sum())],
    ]
    sides = table["side"].value_counts().items()
    split = ", ".join(f"{count(n)} {plain(side)}" for side, n in sides)
    pair: list[Any] = [sheet("trades", rows, sides=split)]
    gains = table["gain"].dropna()
    if len(gains) >= _ENDS:
        reading = f"The median trade returned {_gain2(gains.median())} of the most it had invested."
        reach = float(gains.abs().quantile(0.99))
        pair.append(_histogram("trade-returns", reading, {"trades": gains}, reach))
    lead = "A trade begins with the fill that opens a position and ends with the one that closes it; adding to "
    lead += "it does not end it. Profit is after trading costs, in percent of the starting equity."
    return section("trades", "Trades", pair, _extremes(table), lead=lead)


def _extremes(table: pd.DataFrame) -> Sheet:
    ranked, rows = table.sort_values("profit", ascending=False, kind="stable"), []
    few = len(ranked) <= 2 * _ENDS
    shown = ranked if few else pd.concat([ranked.head(_ENDS), ranked.tail(_ENDS)])
    for one in shown.itertuples():
        dates = [iso(one.entered), iso(one.left).replace(DASH, "open")]
        values = [count(one.sessions), percent(one.invested), _gain2(one.gain), _gain2(one.profit)]
        rows.append([plain(one.symbol), plain(one.side), *dates, *values])
    top, whole = (_gain(part.sum()) for part in (ranked["profit"].head(_ENDS), ranked["profit"]))
    title = "All trades" if few else f"The {_ENDS} best and the {_ENDS} worst"
    words: Any = {"title": title, "few": min(_ENDS, len(ranked)), "top": top, "whole": whole}
    return sheet("extremes", rows, **words)


# In which markets it worked.


def _regimes(run: Run) -> Section:
    title, pair = "Regimes", _pair(run)
    if len(pair) < 2:
        return section("regimes", title, "This run stored no benchmark to tell regimes by.")
    found, held, rows, ahead = metrics.regimes(pair["buy-and-hold"]), _held(run), [], {}
    if not found:
        said = "This run is too short, or its market too even, to tell regimes apart."
        return section("regimes", title, said)
    before = pd.Series(pair["strategy"].index).shift(1)  # what was forecast at the close before
    for one in found:
        parts = {who: series[one.sessions] for who, series in pair.items()}
        own, other = (METRICS["sharpe"](part, periods=run.periods) for part in parts.values())
        name = f"“{one.kind[0].lower()}{one.kind[1:]}: {one.label}”"
        ahead[name] = float(np.nan_to_num(own - other))
        texts = [t for metric in ("cagr", "sharpe") for t in _measured(run, metric, parts).values()]
        share = percent(held.reindex(pd.DatetimeIndex(before[one.sessions].dropna())).mean())
        rows.append([one.kind, one.label, count(one.sessions.sum()), *texts, share])
    best, worst = (choose(ahead, key=ahead.__getitem__) for choose in (max, min))
    lead = "Sessions sorted by the market (buy-and-hold) as known at the close before them. The thirds are cut "
    lead += "over the whole span, so this describes the result and could not be traded."
    return section("regimes", title, sheet("regimes", rows, best=best, worst=worst), lead=lead)


def _next_day(run: Run) -> pd.DataFrame:
    """Scores of the run's model one step ahead, with a PIT even where none is stored."""
    scores = run.scores if "pit" in run.scores else run.scores.assign(pit=np.nan)
    return scores.loc[(scores["model"] == run.model) & (scores["step"] == 1)]


def _held(run: Run) -> Any:
    """Share of symbols whose next-day outcome fell into the 90 % band, by cutoff."""
    first = _next_day(run).dropna(subset="pit")
    inside = ((first["pit"].astype(np.float64) - 0.5).abs() <= 0.45).astype(np.float64)
    return inside.groupby(pd.DatetimeIndex(first["cutoff"])).mean()


# What a reviewer needs to take the page apart.


def _evidence(run: Run) -> Section:
    names = ("label", "formula", "unit", "ddof", "annualisation", "source")
    rows = [[plain(getattr(one, name)) for name in names] for one in METRICS.values()]
    lead = f"r are simple returns per session, A = {run.periods} sessions per year, W the wealth (1 before the "
    lead += "first session), b the benchmark's returns, f the risk-free rate per session, which is 0 on this "
    lead += f"page. {DASH} stands for undefined or unknown, never for 0."
    ledger = [("Ledger at this run", plain((run.result.get("verdict") or {}).get("ledger_head")))]
    blocks = [*notes(run.result), *manifest_blocks(run.manifest, ledger), *_proof(run)]
    blocks = [sheet("registry", rows), page.terms("backtest"), *blocks]
    return section("definitions", "Definitions and manifest", *blocks, lead=lead)


def _proof(run: Run) -> list[Block]:
    """What `quantseq verify` needs of a page that travels alone."""
    pair, blocks = _pair(run), file_hashes(run)
    if "strategy" not in pair:
        return blocks
    frame: Any = pd.DataFrame(pair)
    how: Any = {"index_label": "session", "float_format": "%.9g", "lineterminator": "\n"}
    csv = frame.set_axis(frame.index.strftime("%Y-%m-%d")).to_csv(**how)
    name, text = f"{run.manifest['run_id']}.csv", f"Daily returns of {listing(list(pair))} as CSV"
    return [*blocks, page.Download(name, csv, text, {"year": run.periods, "seed": run.seed})]


def file_hashes(run: Run) -> list[Block]:
    """The files that a page was made from."""
    return [sheet("files", list(run.hashes.items()))] if run.hashes else []


def notes(result: Mapping[str, Any]) -> list[Block]:
    """What a run has to say, and what the health check found in its prices, errors first."""
    said, found = [str(note) for note in result.get("notes") or []], result.get("data_findings")
    blocks: list[Block] = [page.Notes(said, "Notes") if said else "This run left no notes."]
    if found is None:
        return blocks
    if not found:
        clean = "The health check found nothing implausible in the prices."
        return [*blocks, page.Notes([clean])]
    rules: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for one in found:
        rules.setdefault((str(one.get("severity")), str(one.get("rule"))), []).append(one)
    rows = []
    for (severity, rule), several in sorted(rules.items()):
        names = [str(one.get("symbol")) for one in several]
        symbols = ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")
        first = min((day for one in several for day in one.get("sessions") or []), default="")
        bars = count(sum(int(one.get("count") or 0) for one in several))
        message = plain(several[0].get("message"))
        rows.append([severity, rule, symbols, bars, plain(str(first)[:10]), message])
    return [*blocks, sheet("findings", rows)]


def manifest_blocks(source: Mapping[str, Any], more: Sequence[tuple[str, str]] = ()) -> list[Block]:
    """Everything needed to run it again and get the same, and `more` facts that stand elsewhere."""
    facts = [("Run", str(source["run_id"]))]
    facts += [(key.capitalize(), plain(source.get(key))) for key in ("created", "command")]
    facts += [("Git commit", plain(source.get("git_commit"))), *more]
    facts += [(key.capitalize(), _pairs(source.get(key))) for key in ("seeds", "versions")]
    data, config, rows = source.get("data") or {}, source.get("config"), []
    for symbol, one in data.items():
        span = [iso(one.get("first")), iso(one.get("last")), count(one.get("rows"))]
        rows.append([str(symbol), plain(one.get("source")), *span, plain(one.get("sha256"))])
    prices = sheet("data", rows) if data else "This run did not record its data."
    told: Block = "This run did not record its configuration."
    if config:
        told = sheet("settings", settings(config), title="Configuration")
    return [page.Facts(facts, "Manifest"), prices, told]


def _pairs(value: Any) -> str:
    found = value.items() if isinstance(value, Mapping) else ()
    return ", ".join(f"{name} {item}" for name, item in found) or DASH


def settings(config: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Nested settings as dotted names."""
    rows: list[tuple[str, str]] = []
    for name, value in config.items():
        if isinstance(value, Mapping) and value:
            rows += settings(value, f"{prefix}{name}.")
        else:
            several = isinstance(value, (list, tuple))
            text = ", ".join(map(str, value)) if several else value
            rows.append((f"{prefix}{name}", plain(text)))
    return rows
