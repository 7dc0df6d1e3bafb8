"""Prices as sequences: a panel becomes (context, horizon) windows of tokens, with plain numbers beside them.

Owns the gathering of windows into batches and what is fitted for them. Knows nothing of layers or losses; asks
the reference for densities, the tokenizer for ids and `inputs` for numbers.

The context is a stream of tokens, each session's return in bins of its transform under the reference that was
known the day before, with `CHANNELS` of the session beside it. Each step of the answer has a condition: the
numbers that were known at the close, what day its session is, and its scheduled events.
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
from quantseq.forecasting.inputs import Measure
from quantseq.forecasting.reference import Reference, fit_reference, measured
from quantseq.forecasting.rows import CONTEXT, MIN_HISTORY, is_moving
from quantseq.forecasting.tokenizer import ReturnTokenizer
from quantseq.forecasting.volatility import LONG_WINDOW, aligned_returns, before
from quantseq.market.bars import Dates, Floats, Panel
from quantseq.seq2seq.tokens import EOS, PAD, Batch

FAR = np.datetime64("9999-12-31", "D")
"""When something will be known that is not known yet."""

SmallIds = NDArray[np.int16]
"""Ids at rest: thousands of symbols stay in memory."""

SmallNumbers = NDArray[np.float16]
"""Numbers at rest: three digits are more than a network can use."""


@dataclass(frozen=True, eq=False)
class WindowTable:
    """A panel as flat arrays of L sessions, symbol after symbol; windows are index arithmetic.

    Targets are the ids of the returns of sessions i + h under the reference known at i, PAD past the end.
    """

    symbols: NDArray[np.object_]
    sessions: Dates
    source: SmallIds  # (L,), ids of the returns
    channels: SmallNumbers  # (L, len(CHANNELS))
    numbers: SmallNumbers  # (L, NUM_NUMBERS)
    days: SmallNumbers  # (D, H, NUM_DAYS), of the sessions after each of the markets' D
    place: NDArray[np.intp]  # (L,), where a session stands among those
    events: SmallNumbers  # (L, H, NUM_EVENTS)
    targets: SmallIds  # (L, H)
    known_on: Dates  # when the last target is known; 9999-12-31 past the end
    loc: Floats  # (L, H), the reference at each session, as the four that follow
    scale: Floats
    nu: Floats
    zero: Floats
    half_tick: Floats
    usable: NDArray[np.bool_]  # whether a whole context ends here
    is_moving: NDArray[np.bool_]  # whether the price moved, see `rows.is_moving`

    def batch(self, rows: NDArray[np.intp]) -> Batch:
        """Gather the windows that end at `rows` as a time-major batch."""
        index = rows[None, :] + np.arange(1 - CONTEXT, 1)[:, None]
        out = torch.from_numpy(np.ascontiguousarray(self.targets[rows].T, dtype=np.int64))
        first = torch.full((1, len(rows)), EOS, dtype=torch.int64)
        horizon = self.targets.shape[1]
        days = self.days[self.place[rows]].transpose(1, 0, 2)
        numbers = np.broadcast_to(self.numbers[rows], (horizon, len(rows), self.numbers.shape[1]))
        events = self.events[rows].transpose(1, 0, 2)
        condition = np.concatenate([numbers, days, events], axis=2).astype(np.float32)
        return Batch(
            source=torch.from_numpy(self.source[index].astype(np.int64)),
            source_lengths=torch.full((len(rows),), CONTEXT, dtype=torch.int64),
            target_in=torch.cat([first, out[:-1]]),
            target_out=out,
            target_lengths=torch.full((len(rows),), horizon, dtype=torch.int64),
            channels=torch.from_numpy(self.channels[index].astype(np.float32)),
            condition=torch.from_numpy(condition),
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
    channels: Measure

    @property
    def horizon(self) -> int:
        """Steps ahead."""
        return self.reference.horizon

    @classmethod
    def fit(cls, panel: Panel, *, horizon: int, num_bins: int, volatility: str = "har") -> Self:
        """Fit reference, bins and measures on a training block: everything in `panel` is used.

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
        reference = fit_reference(panel, horizon=horizon, volatility=volatility)
        shown = [one.channels[LONG_WINDOW:] for one in reference.inputs(panel).values()]
        return cls(
            reference,
            ReturnTokenizer.fit(panel, num_bins=num_bins),
            Measure.fit(np.concatenate(shown)),
        )

    def table(self, panel: Panel) -> WindowTable:
        """Encode a panel; the row of session i uses bars up to i, its targets the H after."""
        parts: list[tuple[Any, ...]] = []
        markets: dict[
            str, tuple[int, SmallNumbers]
        ] = {}  # first row of each market's days, and these
        count = 0
        for symbol, one in self.reference.inputs(panel).items():
            n = len(one.sessions)
            expected = self.reference.parameters(symbol, one)
            numbers, days = measured(one, self.reference.measure)
            if one.market not in markets:
                markets[one.market] = count, days.astype(np.float16)
                count += len(days)
            levels = expected.cdf(aligned_returns(one.returns, self.horizon))
            known_on = np.full(n, FAR)
            known_on[: max(n - self.horizon, 0)] = one.sessions[self.horizon :]
            targets = np.where(np.isfinite(levels), self.tokenizer.encode(levels), PAD)
            own = self.tokenizer.encode(before(levels[:, 0]))  # each return, as expected before
            parts.append(
                (
                    np.full(n, symbol, dtype=object),
                    one.sessions,
                    own.astype(np.int16),
                    self.channels.apply(one.channels).astype(np.float16),
                    numbers.astype(np.float16),
                    one.place + markets[one.market][0],
                    self.reference.events(one).astype(np.float16),
                    targets.astype(np.int16),
                    known_on,
                    *vars(expected).values(),
                    np.arange(n) >= MIN_HISTORY,
                    is_moving(one.returns),
                )
            )
        columns = [np.concatenate(column) for column in zip(*parts, strict=True)]
        columns.insert(5, np.concatenate([days for _, days in markets.values()]))
        return WindowTable(*columns)

    def to_json(self) -> dict[str, Any]:
        """State as JSON values; the tokenizer has a file of its own."""
        state = {"reference": asdict(self.reference), "channels": asdict(self.channels)}
        return dict(json.loads(to_json(state)))

    @classmethod
    def from_json(cls, state: Mapping[str, Any], tokenizer: ReturnTokenizer) -> Self:
        """Rebuild from `to_json` and the tokenizer."""
        reference = Reference.from_json(state["reference"])
        return cls(reference, tokenizer, Measure.from_json(state["channels"]))


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
