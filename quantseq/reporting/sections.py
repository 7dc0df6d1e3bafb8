"""The sections of a backtest's page, each from a `Run` to the blocks it shows.

Owns their order and choice, and the numbers of their sentences, which stand in the TOML files. Every figure
comes from the run or from the trading and evaluation rooms.
"""

import re
from collections.abc import Mapping, Sequence
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd

from quantseq.evaluation.scores import COVERAGES, LEAST_SHOWN, negligible
from quantseq.evaluation.significance import profit_by_confidence
from quantseq.market.bars import Floats
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
    gain,
    iso,
    known,
    listing,
    not_drawn,
    number,
    over_time,
    p_value,
    percent,
    plain,
    plural,
    section,
    sheet,
    signed,
    spelling,
    spread,
)
from quantseq.reporting.run import Run
from quantseq.trading import metrics
from quantseq.trading.attribution import ACCOUNT
from quantseq.trading.backtest import at_cost
from quantseq.trading.costs import MOST_BPS
from quantseq.trading.inference import HEADLINES, LEVEL, psr, trial_spread
from quantseq.trading.metrics import METRICS, wealth

SCORE_NAMES = {"log_score": "log score", "crps": "CRPS"}
TEST_KEYS = ("t", "p", "n_days")
# Sessions up to the cutoff in a fan chart: a forecast with fewer is not picked, and no more are drawn.
LEAST_HISTORY, HISTORY = 15, 40
_BOTH = ("strategy", "buy-and-hold")
_BENCHMARK = Key("ink", "line", "buy-and-hold")
_ENDS = 5  # best and worst trades in the table
_SLICES = 20  # of the PIT's histogram
_STRIPS = 8  # symbols whose positions are drawn; the table has all
_WINDOW = 126  # sessions of the rolling figures: half a year
_NOTHING = LEAST_SHOWN["log_score"]  # nats a day that would be printed as 0.0000


def backtest_page(run: Run) -> page.Page:
    """The page of a backtest in its parts, in the order in which it is read."""
    parts = (_cards, _growth, _luck, _costs, _forecast, _returns, _risk, _trades, _regimes)
    shown = [*(part(run) for part in parts), _evidence(run)]
    return page.Page(_header(run), shown, page.stands("backtest", run=run.manifest["run_id"]))


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
    show, intervals = partial(metric_text, name), run.part("intervals")
    interval = Cell(spread(*ends(intervals.get(name)), show), figure=f"interval.{name}")
    both = ((who, run.metrics(who).get(name)) for who in ("strategy", "buy_and_hold"))
    own, other = (_cell(show, f"{who}.{name}", value) for who, value in both)
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


def _dates(values: Any) -> Any:
    return pd.DatetimeIndex(values).to_numpy().astype("datetime64[D]")


def _pair(run: Run, names: Sequence[str] = ("strategy_net", "buy_and_hold")) -> dict[str, Any]:
    """Daily returns of the strategy and its benchmark, as far as the run has them."""
    found = {label: run.daily(name) for label, name in zip(_BOTH, names, strict=True)}
    return {label: series for label, series in found.items() if series is not None}


def _measured(run: Run, name: str, series: Mapping[str, Any]) -> dict[str, str]:
    """A figure of each series as text."""
    measure = partial(METRICS[name], periods=run.periods)
    return {who: metric_text(name, measure(one)) for who, one in series.items()}


def from_start(columns: Mapping[str, Any], first: float) -> pd.DataFrame:
    """Paths side by side, with their value before the first session."""
    frame = pd.DataFrame(columns)
    start = pd.DataFrame(first, [frame.index[0] - pd.Timedelta(days=1)], frame.columns)
    return pd.concat([start, frame]).rename_axis("date")


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
    span, badges = plural(len(run.equity), "session"), _badges(run)
    return header(run, "backtest", span, badges, edge, answer, sentence)


def _badges(run: Run) -> list[Cell]:
    found, fill = run.part("audit"), run.manifest.get("fill")
    cost = known(run.manifest.get("cost_bps"))
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
    return section("backtest.figures", page.Items("cards", items) if items else None)


def _growth(run: Run) -> Section:
    """How money grew."""
    pair = _pair(run)
    if "strategy" not in pair:
        return section("backtest.growth")
    drawn = (_equity(run, pair), _drawdown(pair["strategy"], pair), _exposure(run), _positions(run))
    return section("backtest.growth", *drawn)


def _equity(run: Run, pair: Mapping[str, Any]) -> Figure:
    paths = {name: pd.Series(wealth(one), one.index) for name, one in pair.items()}
    yearly = _measured(run, "cagr", pair)
    became = [(number(path.iloc[-1]), yearly[name]) for name, path in paths.items()]
    frame, starts = from_start(paths, 1.0), [fold.get("test_start") for fold in run.part("folds")]
    starts = [pd.Timestamp(str(start)[:10]) for start in starts if start][1:]
    marks = [mark for mark in starts if frame.index[0] <= mark <= frame.index[-1]]
    more = [Key("muted", "dots", "a new fold: everything refitted")] if marks else []
    return over_time("equity", frame, how={"marks": marks}, more=more, became=became)


def _drawdown(net: Any, pair: Mapping[str, Any]) -> Figure:
    falls = {name: pd.Series(metrics.drawdowns(one), one.index) for name, one in pair.items()}
    worst = metrics.drawdown_table(net, worst=1)
    fall = None if worst.empty else worst.iloc[0]
    return over_time("drawdown", from_start(falls, 0.0), fall=fall)


def _exposure(run: Run) -> Figure | str:
    exposure = run.daily("gross_exposure")
    if exposure is None:
        return not_drawn("exposure")
    frame = exposure.to_frame("gross exposure at the close").rename_axis("date")
    return over_time("exposure", frame, mean=exposure.mean(), most=exposure.max())


def _positions(run: Run) -> Figure | str:
    if run.weights.empty:
        return not_drawn("positions")
    table = run.weights.pivot_table("weight", "decision", "symbol", aggfunc="last").fillna(0.0)
    table.columns = pd.Index([str(symbol) for symbol in table])
    order = [s for s in run.symbols if s in table] + [s for s in table if s not in run.symbols]
    size, held = table[order].abs().mean(), (table[order] != 0).mean()
    drawn = [s for s in order if s in set(size.sort_values(kind="stable").index[-_STRIPS:])]
    facts = {"mean weight": table.mean(), "smallest": table.min(), "largest": table.max()}
    shown = pd.DataFrame(facts | {"held after decisions": held}).loc[order].rename_axis("symbol")
    words: Any = {"largest": size.idxmax(), "size": size.max(), "held": held.mean()}
    words |= {"drawn": len(drawn), "all": len(order)}
    short = [Key("loss", "box", "short, below the line")] if (table < 0).any(axis=None) else []
    sizes = ((900, 34 + 44 * len(drawn)), (340, 34 + 40 * len(drawn)))
    frame, how = table[drawn].rename_axis("date"), {"looks": ["accent"] * len(drawn)}
    changes = {"shown": shown, "sizes": sizes}
    return over_time("positions", frame, how=how, more=short, changes=changes, **words)


def _luck(run: Run) -> Section:
    """Whether it is luck."""
    verdict = run.part("verdict")
    told = (_difference(verdict), _luck_facts(run, verdict), [_deflated(verdict), _placebos(run)])
    return section("backtest.luck", *told, _checks(run), _folds(run))


def _difference(verdict: Mapping[str, Any]) -> Figure | str:
    (low, high), middle = ends(verdict.get("interval")), known(verdict.get("sharpe_difference"))
    if low is None or high is None or middle is None:
        return not_drawn("difference")
    frame = pd.DataFrame({"low": [low], "estimate": [middle], "high": [high]}, ["difference"])
    show: Any = {name: partial(_cell, signed, f"difference.{name}") for name in frame}
    words: Any = {"low": low, "middle": middle, "high": high}
    return figure("difference", frame, show, of=frame.set_axis([""]), **words)


def _cell(show: Any, figure: str, value: Any) -> Cell:
    """A printed number under the name by which `quantseq verify` computes it again."""
    return Cell(show(value), figure=figure)


def _luck_facts(run: Run, verdict: Mapping[str, Any]) -> page.Items:
    net, sessions = run.daily("strategy_net"), len(run.equity)
    scatter: Any = known(verdict.get("trial_sd"))
    chance = trial_spread([], sessions) if sessions > 1 else np.nan
    by_chance = scatter is not None and np.isclose(scatter, chance, rtol=1e-9, atol=0)
    words: Any = {"psr": None if net is None else psr(net), "sessions": sessions, **verdict}
    words |= {"scatter": scatter, "by_chance": by_chance, "needed": LEVEL}
    words["seeds"] = _pairs(run.manifest.get("seeds"))
    (label, text), *others = page.terms("luck", "", **words).items
    return page.Items("facts", [(label, Cell(str(text), figure="psr")), *others])


def _deflated(verdict: Mapping[str, Any]) -> Figure | str:
    points = pd.DataFrame(verdict.get("dsr_curve") or [], columns=["n", "dsr"], dtype=np.float64)
    points = points.dropna().sort_values("n").set_index("n")
    points = points.set_axis(["DSR"], axis=1).rename_axis("trials")
    if len(points) < 2:
        return not_drawn("deflated")
    trials, passing = known(verdict.get("n_trials")), points.index[points["DSR"] > LEVEL]
    mark = None if trials is None else charts.Mark(trials, f"N = {trials:.0f}")
    words: Any = {"trials": trials, "dsr": verdict.get("dsr"), "passing": passing.max()}
    return figure("deflated", points, how={"mark": mark}, **words)


def _placebos(run: Run) -> Figure | str:
    own, audit = known(run.metrics("strategy").get("sharpe")), run.part("audit")
    names, stored = ["low", "sharpe", "high"], audit.get("placebos") or []
    found = pd.DataFrame(stored, columns=["name", *names, "n"]).set_index("name")
    found = found.dropna(subset=names).rename_axis("")
    if found.empty or own is None:
        return not_drawn("placebos")
    mark, tall = charts.Mark(own, f"strategy {signed(own)}", "accent"), 130 + 30 * len(found)
    words: Any = {"own": own, "rank": known(audit.get("rank"))}
    words["changes"] = {"sizes": ((440, tall), (340, tall))}
    drawn = found[names].rename(plain)
    return figure("placebos", found, of=drawn, how={"mark": mark}, **words)


def _checks(run: Run) -> Sheet | str:
    rows, failed = [], 0
    for one in run.part("audit").get("checks") or []:
        result = Cell("passed") if one.get("passed") else Cell("failed", "loss")
        failed += not one.get("passed")
        rows.append([one.get("name"), result, str(one.get("reading") or "")])
    return sheet("checks", rows, failed=failed, all=len(rows))


def fold_cells(fold: Mapping[str, Any], place: int) -> list[str]:
    """Number, training, validation and test block of a fold."""
    parts = ("train", "validation", "test")
    spans = (between(fold.get(f"{part}_start"), fold.get(f"{part}_end")) for part in parts)
    return [str(fold.get("fold", place)), *spans]


def _folds(run: Run) -> Sheet | str:
    """Who was trained on what, tested where, and what came of it."""
    pair, rows, counts, ahead = _pair(run), [], [], []
    for place, fold in enumerate(run.part("folds")):
        first, last = fold.get("test_start"), fold.get("test_end")
        span = slice(str(first), str(last))
        parts = {name: one.loc[span] for name, one in pair.items()} if first and last else {}
        sharpe: Any = [known(METRICS["sharpe"](x, periods=run.periods)) for x in parts.values()]
        ahead += [sharpe[0] > sharpe[1]] if len(sharpe) == 2 and None not in sharpe else []
        found = (_measured(run, name, parts) for name in ("total_return", "sharpe"))
        texts = [one.get(who) for one in found for who in _BOTH]
        name, *spans = fold_cells(fold, place)
        rows.append([name, *spans, percent(fold.get("kept_weight"), 0), *texts])
        counts.append([name, *(fold.get(key) for key in ("purge", "n_train", "n_test"))])
    return sheet("folds", rows, more=counts, folds=len(rows), ahead=ahead)


def _costs(run: Run) -> Section:
    """Whether it is tradable."""
    pair, rows = _pair(run, ("strategy_net", "strategy_gross")), []
    if len(pair) < 2:
        return section("backtest.costs")
    net, gross = pair.values()
    for name in ("cagr", "volatility", "sharpe", "total_return"):
        before, after = (METRICS[name](series, periods=run.periods) for series in (gross, net))
        show = gain if name == "volatility" else partial(metric_text, name)
        texts = [metric_text(name, value) for value in (before, after)]
        rows.append([metric_label(name), *texts, show(after - before)])
    turnover, level = run.daily("turnover"), known(run.result.get("break_even_bps"))
    words: Any = {"yearly": _yearly(run, "turnover"), "taken": _yearly(run, "cost")}
    words |= {"told": break_even(run.result, turnover), "most": level is None or level >= MOST_BPS}
    words["charged"] = run.manifest.get("cost_bps")
    first = [sheet("costs", rows, **words), _netting(gross, net)]
    second = [_cost_sweep(run, net), _decay(run)]
    return section("backtest.costs", first, second, *_benchmarks(run), *_attribution(run))


def _yearly(run: Run, name: str) -> float | None:
    """What a column of the equity table comes to in a year."""
    daily = run.daily(name)
    return None if daily is None else daily.mean() * run.periods


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
    words: Any = {"before": before.iloc[-1], "after": after.iloc[-1]}
    lost = 1 - words["after"] / words["before"] if words["before"] else np.nan
    frame = pd.DataFrame({"after costs": after, "before costs": before}).rename_axis("date")
    return over_time("netting", frame, lost=lost, **words)


def _cost_sweep(run: Run, net: Any) -> Figure | str:
    """CAGR at other costs, and where it is gone."""
    turnover, charged = run.daily("turnover"), known(run.manifest.get("cost_bps"))
    if turnover is None or charged is None:
        return not_drawn("sweep")
    level = known(run.result.get("break_even_bps"))
    most = max(20.0, 2 * charged, 0.0 if level is None else 1.25 * min(level, 200.0))
    round_ones = [c for c in (0, 1, 2, 5, 10, 15, 20, 30, 40, 50) if c <= most]
    asked = np.unique([*round_ones, charged, most])
    priced = [at_cost(net, turnover, charged_bps=charged, cost_bps=cost) for cost in asked]
    frame = pd.DataFrame(index=pd.Index(asked, name="cost"))
    for name in ("cagr", "sharpe"):
        frame[metric_label(name)] = [METRICS[name](one, periods=run.periods) for one in priced]
    drawn = level is not None and level <= most
    mark = charts.Mark(level or 0.0, f"break-even {bps(level)}") if drawn else None
    more = [Key("loss", "dash", "break-even cost")] if mark else []
    words: Any = {"level": level, "told": break_even(run.result, turnover), "charged": charged}
    return figure("sweep", frame, of=frame.iloc[:, :1], how={"mark": mark}, more=more, **words)


def _decay(run: Run) -> Figure | str:
    """Sharpe ratio when every decision is carried out later."""
    curve = pd.DataFrame(run.part("audit").get("lag_curve") or [], columns=["delay", "sharpe"])
    curve = curve.astype(np.float64).dropna().sort_values("delay").set_index("delay")
    if len(curve) < 2:
        return not_drawn("decay")
    first, last = curve["sharpe"].iloc[[0, -1]]
    frame, how = curve.set_axis(["Sharpe ratio"], axis=1), {"ticks": curve.index.tolist()}
    return figure("decay", frame, how=how, first=first, last=last, longest=curve.index[-1])


def _benchmarks(run: Run) -> list[Block]:
    """Rules that need no forecast, over the same sessions at the same costs."""
    if not (rules := run.part("benchmarks")):
        return []
    shown = ("cagr", "volatility", "sharpe", "max_drawdown")
    own: dict[str, Any] = {"label": "Strategy", "metrics": run.metrics("strategy")}
    own["turnover"] = _yearly(run, "turnover")
    rows, sources = [], []
    for one in (own, *rules.values()):
        texts = [metric_text(name, (one.get("metrics") or {}).get(name)) for name in shown]
        rows.append([plain(one.get("label")), *texts, number(one.get("turnover"), 1)])
        sources.append([rows[-1][0], str(one.get("formula") or ""), str(one.get("source") or "")])
    low, high = map(signed, ends((rules.get("random_entry") or {}).get("sharpe_range")))
    heads = ["", *map(metric_label, shown), "turnover a year"]
    words: Any = {"columns": heads, "strong": 0, "low": low, "high": high}
    return [sheet("benchmarks", rows, more=sources[1:], **words)]


def _attribution(run: Run) -> list[Block]:
    """Profit by symbol, side and cost."""
    parts = pd.DataFrame(run.result.get("attribution") or [])
    if parts.empty:
        return []
    parts = parts.set_index("symbol").astype(np.float64).fillna(0.0)
    parts = parts[(parts != 0).any(axis=1) | (parts.index != ACCOUNT)]
    parts = parts[[k for k in parts if k in ("long", "short", "total") or (parts[k] != 0).any()]]
    rows = [[str(name), *row] for name, row in zip(parts.index, parts.to_numpy(), strict=True)]
    heads = ["", *(str(kind).replace("_", " ") for kind in parts)]
    return [sheet("attribution", rows, columns=heads, totals=[["all", *parts.sum()]])]


def _forecast(run: Run) -> Section:
    """Whether the forecast earned it."""
    found, first = run.part("forecast"), _next_day(run)
    models, pits = found.get("models") or {}, _floats(first["pit"].dropna())
    skill = known(found.get("skill_nats"))
    kept = [known(fold.get("kept_weight")) for fold in run.part("folds")]
    shares = [share for share in kept if share is not None]
    words: Any = {"skill": skill, "negligible": skill is not None and abs(skill) < _NOTHING}
    words |= {"kept": float(np.mean(shares)) if shares else None, "folds": len(shares)}
    held = [coverage_figure(models.get(run.model)), pit_figure(pits)]
    sure = [reliability_figure({run.model: pits}, page.HALF), _confidence(first)]
    told = (score_sheet(models, run.model), test_sheet(found.get("tests") or []))
    return section("backtest.forecast", *told, held, sure, gallery(_fans(run)), **words)


def score_sheet(models: Mapping[str, Any], main: str) -> Sheet | str:
    """Every model's scores of the next step, best first, `main` standing out."""
    scores = {name: known(one.get("log_score")) for name, one in models.items()}
    order = {name: np.inf if score is None else score for name, score in scores.items()}
    names, level, place = sorted(models, key=lambda name: order[name]), list[str](), 0
    keys = ("log_score", "crps", *(f"coverage_{band}" for band in COVERAGES), "pit_ks", "n")
    rows = [[name, *(models[name].get(key) for key in keys)] for name in names]
    if len(names) > 1 and np.isfinite(order.get(main, np.inf)):
        place = 1 + sum(order[name] < order[main] - _NOTHING for name in names)
        level = [n for n in names if n != main and abs(order[n] - order[main]) <= _NOTHING]
    strong = names.index(main) if main in names else -1
    words: Any = {"main": main, "place": place, "all": len(names), "level": level}
    return sheet("scores", rows, strong=strong, **words)


def test_side(test: Mapping[str, Any]) -> int:
    """-1 where a test shows the model to be better, 1 where worse, 0 where it decides nothing."""
    t, p = known(test.get("t")), known(test.get("p"))
    return 0 if t is None or p is None or p >= 0.05 or negligible(test) else int(np.sign(t))


def test_sheet(tests: Sequence[Mapping[str, Any]]) -> Sheet | str:
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
        rows.append([name, score, step, gap, *(test.get(key) for key in TEST_KEYS)])
    steps = list(dict.fromkeys(step for line in lines.values() for step in line))
    heads = ["all steps" if step == "all" else f"step {step}" for step in steps]
    cells = [[*names, *(line.get(step) for step in steps)] for names, line in lines.items()]
    found = dict(zip(("won", "lost", "open"), map(sides.count, (-1, 1, 0)), strict=True))
    words: Any = {"models": models, "all": len(tests), **found}
    return sheet("tests", cells, columns=heads, more=rows, **words)


def coverage_figure(scores: Mapping[str, Any] | None) -> Figure | str:
    """How often each central band held."""
    found = {level / 100: known((scores or {}).get(f"coverage_{level}")) for level in COVERAGES}
    held = pd.Series({b: s for b, s in found.items() if s is not None}, dtype=np.float64)
    if held.empty:
        return not_drawn("coverage")
    gaps, near = held - held.index, min(held.index, key=lambda band: abs(band - 0.9))
    worst: Any = gaps.abs().idxmax()
    words: Any = {"near": near, "held": held[near], "miss": gaps[worst], "worst": worst}
    frame = pd.DataFrame({"held": held, "difference": gaps}).rename_axis("band")
    how, whole = {"label": percent, "marks": _floats(held.index)}, spelling("percent 0")
    return figure("coverage", frame, of=held.rename(whole), how=how, **words)


def pit_figure(pits: Floats) -> Figure | str:
    """Histogram of the next step's PIT values, with at least two outcomes per slice."""
    if len(pits) < 2 * _SLICES:
        return not_drawn("pit")
    counts = np.histogram(pits, bins=_SLICES, range=(0, 1))[0]
    shares, reach = counts / (len(pits) / _SLICES), 1.96 * np.sqrt((_SLICES - 1) / len(pits))
    inside, edges = np.abs(shares - 1) <= reach, np.arange(_SLICES + 1) / _SLICES
    names = [f"{low:.2f} to {high:.2f}" for low, high in pairwise(edges)]
    frame = pd.DataFrame({"outcomes": counts, "times expected": shares}, names)
    frame = frame.rename_axis("slice of probability")
    how = {"band": (1 - reach, 1 + reach), "roles": np.where(inside, "accent", "loss")}
    drawn = pd.Series(shares, [f"{low:.2f}" for low in edges[:-1]])
    return figure("pit", frame, of=drawn, how=how, inside=inside.sum(), slices=_SLICES)


def reliability_figure(pits: Mapping[str, Floats], sizes: Sequence[charts.Size]) -> Figure | str:
    """Share of outcomes below each level less the level, one step ahead; the first model stands out."""
    main, levels = next(iter(pits)), np.linspace(0, 1, 101)
    drawn = {name: np.sort(values) for name, values in pits.items() if len(values) >= 2 * _SLICES}
    if main not in drawn:
        return not_drawn("reliability")
    frame = pd.DataFrame(index=pd.Index(levels, name="level"))
    for name, one in drawn.items():
        frame[name] = np.searchsorted(one, levels, "right") / len(one) - levels
    worst: Any = frame[main].abs().idxmax()
    changes: Any = {"shown": frame.iloc[[1, 5, 10, 25, 50, 75, 90, 95, 99]], "sizes": sizes}
    words: Any = {"main": main, "worst": worst, "gap": frame[main][worst]}
    return figure("reliability", frame, of=100 * frame, changes=changes, **words)


def _confidence(first: pd.DataFrame) -> Figure | str:
    """Profit of following the forecast's sign, by how sure it was."""
    deciles = []
    if {"prob_up", "realised"} <= set(first):
        first = first.sort_values(["cutoff", "symbol"], kind="stable")
        sure, came = _floats(first["prob_up"]), _floats(first["realised"])
        deciles = profit_by_confidence(sure, came, _dates(first["cutoff"]), groups=10)
    if not deciles:
        return not_drawn("confidence")
    names = [str(place) for place in range(1, len(deciles) + 1)]
    frame = pd.DataFrame([vars(one) for one in deciles], pd.Index(names, name="tenth"))
    frame = frame[["value", "t", "p", "n_days"]].set_axis(["mean profit", "t", "p", "days"], axis=1)
    earned = frame["mean profit"]
    error = (earned / frame["t"]).abs().replace(np.inf, np.nan).fillna(0.0)
    words: Any = {"most": earned.iloc[-1], "least": earned.iloc[0]}
    words |= {"told": abs(known(frame["t"].iloc[-1]) or 0.0) >= 2}
    words["how"] = {"errors": 2e4 * _floats(error)}
    return figure("confidence", frame, of=1e4 * earned, **words)


def picks(amount: int) -> dict[str, int]:
    """Which of `amount` forecasts, ranked from the lowest CRPS, a gallery shows; none of fewer than 3.

    Examples
    --------
    >>> picks(9), picks(2)
    ({'best': 0, 'median': 4, 'worst': 8}, {})
    """
    return {"best": 0, "median": amount // 2, "worst": amount - 1} if amount >= 3 else {}


def gallery(picked: Sequence[Mapping[str, Any]]) -> page.Row | str:
    """Forecasts picked by rule, side by side, as an evaluation stores them."""
    if not picked:
        return "No forecast has cumulative quantiles, CRPS and outcome, so none is drawn."
    legend = [Key("neutral", "line", "adjusted close"), Key("ink", "line", "what happened")]
    legend.insert(1, Key("accent", "box", "forecast bands and median"))
    reading = f"Lowest, middle and highest mean CRPS over the steps, of {count(picked[0]['of'])} forecasts."
    return page.Row(
        "trio", [*map(_fan, picked)], "Three forecasts, picked by rule", reading, legend
    )


def _fans(run: Run) -> list[dict[str, Any]]:
    """The forecasts with the lowest, the middle and the highest CRPS, averaged over their steps."""
    keys, scores = ["symbol", "cutoff"], run.scores.loc[run.scores["model"] == run.model]
    names = sorted(str(name) for name in run.forecasts if re.fullmatch(r"cum_q\d{2,}", str(name)))
    if len(names) < 3 or not {"crps", "realised"} <= set(scores):
        return []
    scores = scores[[*keys, "step", "crps", "realised"]]
    rows = run.forecasts[[*keys, "step", *names]].merge(scores, on=[*keys, "step"])
    whole, groups = rows.notna().all(axis=1), [rows["symbol"].astype(str), rows["cutoff"]]
    mean = rows["crps"].groupby(groups).mean()[whole.groupby(groups).all()]
    stored: dict[str, Any] = {symbol: run.daily(f"close:{symbol}") for symbol in run.symbols}
    closes = {symbol: one.dropna() for symbol, one in stored.items() if one is not None}
    past = {symbol: set(one.index[LEAST_HISTORY - 1 :]) for symbol, one in closes.items()}
    shown = [cutoff in past.get(symbol, ()) for symbol, cutoff in mean.index]
    ranked, picked = mean[shown].sort_values(kind="stable"), []
    levels = np.array([int(name[5:]) / 10 ** len(name[5:]) for name in names])
    for name, place in picks(len(ranked)).items():
        symbol, cutoff = ranked.index[place]
        part = rows.loc[(rows["symbol"] == symbol) & (rows["cutoff"] == cutoff)].sort_values("step")
        history = closes[symbol].loc[:cutoff].iloc[-HISTORY:]
        start, came = history.iloc[-1], np.cumsum(_floats(part["realised"]))
        one = {"pick": name, "of": len(ranked), "symbol": symbol, "crps": ranked.iloc[place]}
        one |= {"dates": history.index, "closes": history, "levels": levels}
        one |= {"prices": start * np.exp(_floats(part[names])), "realised": start * np.exp(came)}
        picked.append(one)
    return picked


def _fan(one: Mapping[str, Any]) -> Figure:
    """One forecast of a gallery, with why it was picked, and its mean CRPS over the steps."""
    dates, name = _dates(one["dates"]), str(one["pick"])
    closes, levels, *parts = (_floats(one[k]) for k in ("closes", "levels", "prices", "realised"))
    labels = [f"+{step}" for step in range(1, len(parts[0]) + 1)]
    fan = charts.Fan(str(one["symbol"]), dates, closes, labels, levels, *parts)
    columns = pd.Index([percent(level, 0) for level in levels])
    frame = pd.DataFrame(fan.prices, pd.Index(labels, name="step"), columns)
    frame["realised"] = fan.realised
    inside = int(frame["realised"].between(frame.iloc[:, 0], frame.iloc[:, -2]).sum())
    words: Any = {"pick": name, "symbol": fan.symbol, "cutoff": dates[-1], "crps": one["crps"]}
    words |= {"inside": inside, "steps": len(frame), "band": levels[-1] - levels[0]}
    changes = {"shown": frame.iloc[:, [0, len(levels) // 2, -2, -1]]}
    return figure(f"fan.{name}", frame, draw=fan.draw, changes=changes, **words)


def _returns(run: Run) -> Section:
    """Months, years and days."""
    pair = _pair(run)
    if "strategy" not in pair:
        return section("backtest.returns")
    tables = {name: metrics.monthly_table(series) for name, series in pair.items()}
    years = pd.DataFrame({n: table["year"] for n, table in tables.items()}).rename_axis("year")
    how = {"marks": _floats(years["buy-and-hold"])} if len(pair) > 1 else {}
    words: Any = {"more": [_BENCHMARK] * len(how), "years": len(years)}
    words["up"] = int((years["strategy"] > 0).sum())
    drawn = figure("years", years, of=years["strategy"], how=how, **words)
    months = _months(tables["strategy"], years)
    return section("backtest.returns", months, [drawn, _distribution(pair)])


def _months(table: pd.DataFrame, years: pd.DataFrame) -> Sheet | str:
    def tint(value: Any) -> Cell:
        depth = int(np.searchsorted((0.005, 0.02, 0.04, 0.08), abs(value), "right"))
        tone = f"{'up' if value > 0 else 'down'}{depth}" if np.isfinite(value) and depth else ""
        return Cell(number(value, 1, sign=True, factor=100), tone)

    months, whole, columns = _floats(table[list(range(1, 13))]), years["strategy"], years.copy()
    words: Any = {"months": int(np.isfinite(months).sum()), "years": len(years), "won": None}
    words |= {"higher": int((months >= 0.0005).sum()), "flat": int((abs(months) < 0.0005).sum())}
    words |= {"best": whole.idxmax(), "most": whole.max()}
    words |= {"worst": whole.idxmin(), "least": whole.min()}
    if "buy-and-hold" in years:
        columns["difference"] = whole - years["buy-and-hold"]
        words["won"] = int((columns["difference"] > 0).sum())
    several = zip(years.index, months, columns.to_numpy(), strict=True)
    rows = [[str(year), *map(tint, each), *row] for year, each, row in several]
    return sheet("months", rows, columns=list(columns.columns[1:]), **words)


def _histogram(key: str, series: Mapping[str, Any], reach: float, **words: Any) -> Figure:
    """How many returns fell where; the outer of 31 bars hold everything beyond `reach`."""
    edges = np.linspace(-max(reach, 1e-4), max(reach, 1e-4), 32)
    clipped = {name: one.clip(*edges[[0, -1]]) for name, one in series.items()}
    counts = {name: np.histogram(one, edges)[0] for name, one in clipped.items()}
    own, *others = counts.values()
    names = [spread(*both, spelling("+percent 2")) for both in pairwise(edges)]
    frame = pd.DataFrame(counts, pd.Index(names, name="return"))
    roles = ["loss"] * 15 + ["neutral"] + ["accent"] * 15
    drawn = pd.Series(own, [percent(middle) for middle in (edges[:-1] + edges[1:]) / 2])
    how = {"roles": roles, "marks": others[0] if others else None}
    return figure(key, frame, of=drawn, how=how, more=[_BENCHMARK] * len(others), **words)


def _distribution(pair: Mapping[str, Any]) -> Figure:
    net, reach = pair["strategy"], np.quantile(np.abs(np.concatenate(list(pair.values()))), 0.995)
    up, down = int((net > 0).sum()), int((net < 0).sum())
    best, worst = (metric_text(name, METRICS[name](net)) for name in ("best_day", "worst_day"))
    words: Any = {"up": up, "down": down, "flat": len(net) - up - down, "best": best}
    return _histogram("distribution", pair, float(reach), worst=worst, **words)


def _risk(run: Run) -> Section:
    pair, own, blocks = _pair(run), run.metrics("strategy"), list[Any]()
    if "strategy" in pair:
        blocks = [*_rolling(run, pair), [_falls(pair["strategy"]), _tail(pair)]]
    if own:
        names = sorted(own, key=[*METRICS, *own].index)
        rows = [[metric_label(name), *_metric_cells(run, name)] for name in names]
        blocks.append(sheet("metrics", rows))
    return section("backtest.risk", *blocks)


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
        span = "The strategy never moved long enough for one."
        if len(own):
            span = f"Between {show(own.min())} ({iso(own.idxmin())}) and {show(own.max())} "
            span += f"({iso(own.idxmax())}); blank until the window is full."
        found.append(over_time(f"rolling-{name}", frame.rename_axis("date"), span=span))
    return found


def _falls(net: Any) -> Sheet | str:
    table = metrics.drawdown_table(net, worst=10)
    shown = table[["depth", "start", "valley", "recovery", "sessions"]]
    rows = [[rank, *fall] for rank, fall in enumerate(shown.itertuples(index=False), start=1)]
    for row, ongoing in zip(rows, table["ongoing"], strict=True):
        row[4] = "ongoing" if ongoing else row[4]
    return sheet("falls", rows, falls=len(rows), ongoing=table["ongoing"].any())


def _tail(pair: Mapping[str, Any]) -> Sheet | str:
    """What the worst days cost."""
    rows = [
        [metric_label(name), *(metric_text(name, METRICS[name](one)) for one in pair.values())]
        for name in ("var_95", "es_95", "worst_day", "best_day", "skew", "kurtosis")
    ]
    return sheet("tail", rows, columns=list(pair), mean=rows[1][1])


def _trades(run: Run) -> Section:
    table = run.trades
    if table.empty:
        return section("backtest.trades")
    table = table.assign(gain=table["profit"] / table["invested"].where(table["invested"] > 0))
    won, lost = table.loc[table["profit"] > 0], table.loc[table["profit"] < 0]
    gained, given, precise = won["profit"].sum(), -lost["profit"].sum(), spelling("+percent 2")
    rows = [
        ["Trades", count(len(table))],
        ["of which still open", count(table["left"].isna().sum())],
        ["Won", percent(len(won) / len(table))],
        ["Mean return of the won", precise(won["gain"].mean())],
        ["Mean return of the lost", precise(lost["gain"].mean())],
        ["Profit factor", number(gained / given if given > 0 else None)],
        ["Median sessions held", count(table["sessions"].median())],
        ["Longest, sessions", count(table["sessions"].max())],
        ["Trading costs of all", precise(-table["cost"].sum())],
    ]
    sides = table["side"].value_counts().items()
    split = ", ".join(f"{count(n)} {plain(side)}" for side, n in sides)
    pair: list[Any] = [sheet("trades", rows, sides=split)]
    gains = table["gain"].dropna()
    if len(gains) >= _ENDS:
        reach, median = float(gains.abs().quantile(0.99)), gains.median()
        pair.append(_histogram("trade-returns", {"trades": gains}, reach, median=median))
    return section("backtest.trades", pair, _extremes(table))


def _extremes(table: pd.DataFrame) -> Sheet | str:
    ranked = table.sort_values("profit", ascending=False, kind="stable")
    names = ["symbol", "side", "entered", "left", "sessions", "invested", "gain", "profit"]
    shown = pd.concat([ranked.head(_ENDS), ranked.iloc[_ENDS:].tail(_ENDS)])[names]
    shown = shown.assign(left=shown["left"].map(iso).replace(DASH, "open"))
    words: Any = {"ends": _ENDS, "all": len(ranked), "whole": ranked["profit"].sum()}
    rows = list(shown.itertuples(index=False))
    return sheet("extremes", rows, top=ranked["profit"].head(_ENDS).sum(), **words)


def _regimes(run: Run) -> Section:
    """In which markets it worked."""
    pair = _pair(run)
    found = metrics.regimes(pair["buy-and-hold"]) if len(pair) == 2 else []
    if not found:
        return section("backtest.regimes", benchmark=len(pair) == 2)
    held, rows, ahead = _held(run), [], {}
    before = pd.Series(pair["strategy"].index).shift(1)  # what was forecast at the close before
    for one in found:
        parts = {who: series[one.sessions] for who, series in pair.items()}
        own, other = (METRICS["sharpe"](part, periods=run.periods) for part in parts.values())
        name = f"“{one.kind[0].lower()}{one.kind[1:]}: {one.label}”"
        ahead[name] = float(np.nan_to_num(own - other))
        texts = [t for metric in ("cagr", "sharpe") for t in _measured(run, metric, parts).values()]
        share = held.reindex(pd.DatetimeIndex(before[one.sessions].dropna())).mean()
        rows.append([one.kind, one.label, one.sessions.sum(), *texts, share])
    best, worst = (choose(ahead, key=ahead.__getitem__) for choose in (max, min))
    return section("backtest.regimes", sheet("regimes", rows, best=best, worst=worst))


def _next_day(run: Run) -> pd.DataFrame:
    """Scores of the run's model one step ahead, with a PIT even where none is stored."""
    scores = run.scores if "pit" in run.scores else run.scores.assign(pit=np.nan)
    return scores.loc[(scores["model"] == run.model) & (scores["step"] == 1)]


def _held(run: Run) -> Any:
    """Share of symbols whose next-day outcome fell into the 90 % band, by cutoff."""
    first = _next_day(run).dropna(subset="pit")
    inside = ((first["pit"].astype(np.float64) - 0.5).abs() <= 0.45).astype(np.float64)
    return inside.groupby(pd.DatetimeIndex(first["cutoff"])).mean()


def _evidence(run: Run) -> Section:
    """What a reviewer needs to take the page apart."""
    names = ("label", "formula", "unit", "ddof", "annualisation", "source")
    rows = [[getattr(one, name) for name in names] for one in METRICS.values()]
    ledger = [("Ledger at this run", plain(run.part("verdict").get("ledger_head")))]
    blocks = [*notes(run.result), *manifest_blocks(run.manifest, ledger), *_proof(run)]
    shown = [sheet("registry", rows), page.terms("backtest"), *blocks]
    return section("backtest.definitions", *shown, periods=run.periods)


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
    told: Block = page.Items("notes", said, "Notes") if said else "This run left no notes."
    rules: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for one in found or []:
        rules.setdefault((str(one.get("severity")), str(one.get("rule"))), []).append(one)
    rows = []
    for (severity, rule), several in sorted(rules.items()):
        names = [str(one.get("symbol")) for one in several]
        symbols = ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")
        first = min((day for one in several for day in one.get("sessions") or []), default="")
        bars = sum(int(one.get("count") or 0) for one in several)
        rows.append([severity, rule, symbols, bars, str(first)[:10], several[0].get("message")])
    return [told] if found is None else [told, sheet("findings", rows)]


def manifest_blocks(source: Mapping[str, Any], more: Sequence[tuple[str, str]] = ()) -> list[Block]:
    """Everything needed to run it again and get the same, and `more` facts that stand elsewhere."""
    facts = [("Run", str(source["run_id"]))]
    facts += [(key.capitalize(), plain(source.get(key))) for key in ("created", "command")]
    facts += [("Git commit", plain(source.get("git_commit"))), *more]
    facts += [(key.capitalize(), _pairs(source.get(key))) for key in ("seeds", "versions")]
    keys, data = ("source", "first", "last", "rows", "sha256"), source.get("data") or {}
    rows = [[str(symbol), *(one.get(key) for key in keys)] for symbol, one in data.items()]
    told = sheet("settings", settings(source.get("config") or {}), title="Configuration")
    return [page.Items("facts", facts, "Manifest"), sheet("data", rows), told]


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
