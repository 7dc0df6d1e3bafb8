"""Prices as sequences of integers: a panel becomes (context, horizon) token windows.

Owns what the network is told, how it becomes token streams, and the gathering of windows into batches.
Knows nothing of layers or losses; asks the reference for densities and the tokenizer for ids.

The first stream of the context is the return's transform under the reference that was known the day
before; `STREAMS` stand beside it, one id per session: the range over the scale that was expected, the
volume over its 20-session mean, the market's return over its scale. `CONDITIONS` steer the decoder, one id
per window: where the scale stands, how wrong the reference has been lately, how the same days of the last
quarter were, and the calendar. *Surprise* is `reference.score_of_scale` of a day's return: above zero where
the scale was too small, zero on average as long as the reference is right.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray

from quantseq.errors import NotEnoughDataError
from quantseq.files import to_json
from quantseq.forecasting.reference import Reference, StepParameters, score_of_scale
from quantseq.forecasting.rows import CONTEXT, MIN_HISTORY, is_moving
from quantseq.forecasting.tokenizer import ReturnTokenizer, StreamBins
from quantseq.forecasting.volatility import (
    LONG_WINDOW,
    RISKMETRICS_DECAY,
    SymbolFeatures,
    aligned_returns,
    before,
    ewma,
    features,
    rolling_mean,
)
from quantseq.market.bars import Dates, Floats, Panel, monday
from quantseq.seq2seq.tokens import EOS, PAD, Batch

STREAMS = ("range", "volume", "market")
CONDITIONS = (
    "scale over long run",
    "range over return",
    "last return",
    "month's return",
    "last volume",
    "week's volume",
    "own surprise",
    "last quarter",
    "weekday",
    "end of month",
)
SURPRISE_HALF_LIFE = 20
"""Sessions after which a surprise weighs half."""

QUARTER = (61, 62, 63)
"""Sessions ago that lie a quarter before the next one: companies report in the same weeks."""

MONTH = 22
MONTH_END = 28
"""Day of the month from which it ends."""

STREAM_BINS = 16
MARKET_BINS = 4
"""The market's moves are the same for all: told finely, they would tell one day from another, and the
network would learn the days by heart."""

STREAM_SIZES = {name: MARKET_BINS if name == "market" else STREAM_BINS for name in STREAMS}
"""Bins of each stream, at most: ties in the data merge some."""

FAR = np.datetime64("9999-12-31", "D")
"""When something will be known that is not known yet."""

SmallIds = NDArray[np.int16]
"""Ids at rest: thousands of symbols stay in memory."""


@dataclass(frozen=True, eq=False)
class Inputs:
    """One symbol's numbers at each of its n sessions; NaN where unknown."""

    streams: Floats  # (n, len(STREAMS))
    conditions: Floats  # (n, len(CONDITIONS))


def inputs(one: SymbolFeatures, expected: StepParameters) -> Inputs:
    """Compute a symbol's inputs; the row of session i uses bars up to its close.

    `expected` is the reference at each session, for the sessions after it.
    """
    sigma, volume = np.log(expected.scale[:, 0]), _volume(one)
    market = np.nan_to_num(one.market_return)
    market_z = market / before(np.sqrt(_variance(market)))
    streams = [one.log_variance / 2 - before(sigma), volume, market_z]
    conditions = [
        sigma - one.long_run / 2,
        one.log_variance / 2 - 0.5 * np.log(_variance(one.returns)),
        _standardised(one, expected),
        rolling_mean(np.nan_to_num(one.returns), MONTH) / expected.scale[:, 0],
        volume,
        rolling_mean(np.nan_to_num(volume), 5),
        ewma(np.nan_to_num(surprise(one, expected)), 0.5 ** (1 / SURPRISE_HALF_LIFE), 0),
        _last_quarter(one),
        *_calendar(one.sessions),
    ]
    return Inputs(np.column_stack(streams), np.column_stack(conditions))


def surprise(one: SymbolFeatures, expected: StepParameters) -> Floats:
    """How much too small the scale was for each session's return: (n,), NaN where unknown."""
    z = _standardised(one, expected)
    return score_of_scale(z * z, before(expected.nu[:, 0]))


def _standardised(one: SymbolFeatures, expected: StepParameters) -> Floats:
    """Each session's return over the scale that was expected, (n,)."""
    return (one.returns - before(expected.loc[:, 0])) / before(expected.scale[:, 0])


def _volume(one: SymbolFeatures) -> Floats:
    """Log volume over its mean of the 20 sessions before, (n,)."""
    volume = np.full(len(one.sessions), np.nan)
    usual = before(rolling_mean(one.volume, 20))
    traded = (one.volume > 0) & (usual > 0)
    volume[traded] = np.log(one.volume[traded] / usual[traded])
    return volume


def _variance(returns: Floats) -> Floats:
    """EWMA of squared returns (n,)."""
    return np.maximum(ewma(np.nan_to_num(returns) ** 2, RISKMETRICS_DECAY, 1e-4), 1e-8)


def _last_quarter(one: SymbolFeatures) -> Floats:
    """Mean log variance over its long run, of the days that lie a quarter before the next session."""
    n = len(one.sessions)
    excess, result, first = one.log_variance - one.long_run, np.full(n, np.nan), QUARTER[-1]
    if n > first:
        result[first:] = sum(excess[first - lag : n - lag] for lag in QUARTER) / len(QUARTER)
    return result


def _calendar(sessions: Dates) -> tuple[Floats, Floats]:
    """Weekday of the cutoff, 0 for Monday, and whether its month ends."""
    weekday = (sessions - monday(sessions)).astype(np.int64)
    day = (sessions - sessions.astype("datetime64[M]")).astype(np.int64) + 1
    return weekday.astype(np.float64), (day >= MONTH_END).astype(np.float64)


@dataclass(frozen=True, eq=False)
class WindowTable:
    """A panel as flat arrays of L sessions, symbol after symbol; windows are index arithmetic.

    Targets are the ids of the returns of sessions i + h under the reference known at i, PAD past the end.
    """

    symbols: NDArray[np.object_]
    sessions: Dates
    source: SmallIds  # (L, 1 + len(STREAMS)), ids of the context streams, the return first
    condition: SmallIds  # (L, len(CONDITIONS))
    targets: SmallIds  # (L, H)
    known_on: Dates  # when the last target is known; 9999-12-31 past the end
    loc: Floats  # (L, H), the reference at each session, as scale and nu
    scale: Floats
    nu: Floats
    usable: NDArray[np.bool_]  # whether a whole context ends here
    is_moving: NDArray[np.bool_]  # whether the price moved, see `rows.is_moving`

    def batch(self, rows: NDArray[np.intp]) -> Batch:
        """Gather the windows that end at `rows` as a time-major batch."""
        index = rows[None, :] + np.arange(1 - CONTEXT, 1)[:, None]
        source = torch.from_numpy(self.source[index].astype(np.int64))
        out = torch.from_numpy(np.ascontiguousarray(self.targets[rows].T, dtype=np.int64))
        first = torch.full((1, len(rows)), EOS, dtype=torch.int64)
        horizon = self.targets.shape[1]
        return Batch(
            source=source[..., 0].contiguous(),
            source_lengths=torch.full((len(rows),), CONTEXT, dtype=torch.int64),
            target_in=torch.cat([first, out[:-1]]),
            target_out=out,
            target_lengths=torch.full((len(rows),), horizon, dtype=torch.int64),
            source_extra=source[..., 1:].contiguous(),
            condition=torch.from_numpy(self.condition[rows].astype(np.int64)),
        )

    def rows_between(self, start: Any, end: Any) -> NDArray[np.intp]:
        """Usable rows of prices that move, with a cutoff from `start` on and targets known by `end`."""
        first, last = np.datetime64(start, "D"), np.datetime64(end, "D")
        inside = (self.sessions >= first) & (self.known_on <= last)
        return np.flatnonzero(inside & self.usable & self.is_moving)

    def halves(
        self, sessions: Dates, start: Any, *, purge: int
    ) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Rows of the two halves of a validation block, `purge` sessions apart.

        The block begins at `start` and ends with `sessions` (D,). NotEnoughDataError if it has no room for
        two halves.
        """
        block = sessions[sessions >= np.datetime64(start, "D")]
        if len(block) < 2 + purge:
            raise NotEnoughDataError(
                f"The validation block from {start} to {sessions[-1]} has {len(block)} sessions; "
                f"at least {2 + purge} are needed. Start it earlier or give later bars."
            )
        middle = len(block) // 2
        second = min(middle + purge, len(block) - 1)
        return (
            self.rows_between(block[0], block[middle - 1]),
            self.rows_between(block[second], block[-1]),
        )


@dataclass(frozen=True)
class PriceTask:
    """Everything fitted that turns prices into windows; fitted on the training block only."""

    reference: Reference
    tokenizer: ReturnTokenizer
    stream_bins: tuple[StreamBins, ...]
    condition_bins: tuple[StreamBins, ...]

    @property
    def horizon(self) -> int:
        """Steps ahead."""
        return self.reference.horizon

    @classmethod
    def fit(cls, panel: Panel, *, horizon: int, num_bins: int, volatility: str = "har") -> Self:
        """Fit reference and bins on a training block: everything in `panel` is used.

        Too many bins are merged, see `ReturnTokenizer.fit`. NotEnoughDataError if no symbol is long enough
        for one window.
        """
        longest = max(len(bars) for bars in panel.values())
        needed = LONG_WINDOW + CONTEXT + 1 + horizon
        if longest < needed:
            raise NotEnoughDataError(
                f"The longest training history has {longest} sessions; {needed} are needed "
                f"({LONG_WINDOW} for the scale, {CONTEXT} of context, one cutoff, {horizon} of horizon). "
                "Give a longer history or a later split."
            )
        reference = Reference.fit(panel, horizon=horizon, volatility=volatility)
        told = [one for _, _, one in _read(panel, reference).values()]
        streams = np.concatenate([one.streams for one in told]).T
        conditions = np.concatenate([one.conditions for one in told]).T
        sizes = zip(streams, STREAM_SIZES.values(), strict=True)
        return cls(
            reference,
            ReturnTokenizer.fit(panel, num_bins=num_bins),
            tuple(StreamBins.fit(column, num_bins=size) for column, size in sizes),
            tuple(StreamBins.fit(column, num_bins=STREAM_BINS) for column in conditions),
        )

    def table(self, panel: Panel) -> WindowTable:
        """Encode a panel; the row of session i uses bars up to i, its targets the H after."""
        parts = []
        for symbol, (one, expected, told) in _read(panel, self.reference).items():
            n = len(one.sessions)
            levels = expected.cdf(aligned_returns(one.returns, self.horizon))
            known_on = np.full(n, FAR)
            known_on[: max(n - self.horizon, 0)] = one.sessions[self.horizon :]
            targets = np.where(np.isfinite(levels), self.tokenizer.encode(levels), PAD)
            own = self.tokenizer.encode(before(levels[:, 0]))  # each return, as expected before
            parts.append(
                WindowTable(
                    np.full(n, symbol, dtype=object),
                    one.sessions,
                    np.column_stack(
                        [own.astype(np.int16), *_encode(self.stream_bins, told.streams)]
                    ),
                    np.column_stack(_encode(self.condition_bins, told.conditions)),
                    targets.astype(np.int16),
                    known_on,
                    **vars(expected),
                    usable=np.arange(n) >= MIN_HISTORY,
                    is_moving=is_moving(one.returns),
                )
            )
        columns = zip(*(vars(one).values() for one in parts), strict=True)
        return WindowTable(*map(np.concatenate, columns))

    def to_json(self) -> dict[str, Any]:
        """State as JSON values; the tokenizer has a file of its own."""
        state: dict[str, Any] = {"reference": asdict(self.reference)}
        for name, bins in (("streams", self.stream_bins), ("conditions", self.condition_bins)):
            state[name] = [asdict(one) for one in bins]
        return dict(json.loads(to_json(state)))

    @classmethod
    def from_json(cls, state: Mapping[str, Any], tokenizer: ReturnTokenizer) -> Self:
        """Rebuild from `to_json` and the tokenizer."""
        return cls(
            Reference.from_json(state["reference"]),
            tokenizer,
            *(
                tuple(StreamBins(tuple(one["edges"])) for one in state[name])
                for name in ("streams", "conditions")
            ),
        )


def _read(
    panel: Panel, reference: Reference
) -> dict[str, tuple[SymbolFeatures, StepParameters, Inputs]]:
    """By symbol: its features, what the reference expected, and what the network is told."""
    found = {}
    for symbol, one in features(panel).items():
        expected = reference.parameters(symbol, one)
        found[symbol] = one, expected, inputs(one, expected)
    return found


def _encode(bins: tuple[StreamBins, ...], values: Floats) -> list[SmallIds]:
    return [one.encode(column).astype(np.int16) for one, column in zip(bins, values.T, strict=True)]


@dataclass(frozen=True)
class WindowSource:
    """Training batches: every `stride`-th window at a random phase per epoch, shuffled.

    They are drawn from `rows` (R,) of the table. The batch of a step depends on (seed, step) alone, so that
    training can resume anywhere.
    """

    table: WindowTable
    rows: NDArray[np.intp]
    batch_size: int
    stride: int
    seed: int

    @property
    def steps_per_epoch(self) -> int:
        """Batches until every window of one phase has been seen."""
        return max(1, len(self.rows) // self.stride // self.batch_size)

    def batch(self, step: int) -> Batch:
        """The batch of training step `step`."""
        epoch, position = divmod(step, self.steps_per_epoch)
        rng = np.random.default_rng([self.seed, epoch])
        phase = int(rng.integers(self.stride))
        order = rng.permutation(self.rows[phase :: self.stride])
        first = position * self.batch_size
        return self.table.batch(order[first : first + self.batch_size])
