"""Prices as sequences of integers: a panel becomes (context, horizon) token windows.

Owns how numbers become token streams, and the gathering of windows into batches. Knows nothing of
layers or losses; asks the reference for densities, the tokenizer for ids and `inputs.py` for what else
the network is told.

The first stream of the context is the return's transform under the reference that was known the day
before; `STREAMS` stand beside it, one id per session. `CONDITIONS` steer the decoder, one id per
window.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray

from quantseq.errors import NotEnoughDataError
from quantseq.forecasting.inputs import STREAMS, Inputs, inputs
from quantseq.forecasting.reference import Reference, StepParameters
from quantseq.forecasting.rows import CONTEXT, MIN_HISTORY, lively
from quantseq.forecasting.tokenizer import Ids, ReturnTokenizer, StreamBins
from quantseq.forecasting.volatility import LONG_WINDOW, SymbolFeatures, aligned_returns, features
from quantseq.market.bars import Dates, Floats, Panel
from quantseq.seq2seq.tokens import EOS, PAD, Batch

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
class WindowTable:
    """A panel as flat arrays of L sessions, symbol after symbol; windows are index arithmetic.

    Attributes
    ----------
    symbols : (L,) object; sessions : (L,) datetime64[D]
    source : (L, 1 + len(STREAMS)) int16
        Token ids of the context streams, the return first.
    condition : (L, len(CONDITIONS)) int16
    targets : (L, H) int16
        Id of the return of session i + h under the reference known at i; PAD past the end.
    known_on : (L,) datetime64[D]
        When the last target is known; 9999-12-31 past the end.
    loc, scale, nu : (L, H) float64
        The reference at each session.
    usable : (L,) bool
        Whether a whole context ends here.
    lively : (L,) bool
        Whether the price moved, see `rows.lively`.
    """

    symbols: NDArray[np.object_]
    sessions: Dates
    source: SmallIds
    condition: SmallIds
    targets: SmallIds
    known_on: Dates
    loc: Floats
    scale: Floats
    nu: Floats
    usable: NDArray[np.bool_]
    lively: NDArray[np.bool_]

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
        """Usable, lively rows whose cutoff is at or after `start` and whose targets are known by `end`."""
        first, last = np.datetime64(start, "D"), np.datetime64(end, "D")
        inside = (self.sessions >= first) & (self.known_on <= last)
        return np.flatnonzero(inside & self.usable & self.lively)

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
        return cls(
            reference,
            ReturnTokenizer.fit(panel, num_bins=num_bins),
            tuple(
                StreamBins.fit(column, num_bins=STREAM_SIZES[name])
                for name, column in zip(STREAMS, streams, strict=True)
            ),
            tuple(StreamBins.fit(column, num_bins=STREAM_BINS) for column in conditions),
        )

    def table(self, panel: Panel) -> WindowTable:
        """Encode a panel; the row of session i uses bars up to i, its targets the H after."""
        parts: dict[str, list[NDArray[Any]]] = {}
        for symbol, (one, expected, told) in _read(panel, self.reference).items():
            n = len(one.sessions)
            levels = expected.cdf(aligned_returns(one.returns, self.horizon))
            own = np.concatenate(
                [[np.nan], levels[:-1, 0]]
            )  # each session's return, as expected before
            known_on = np.full(n, FAR)
            known_on[: max(n - self.horizon, 0)] = one.sessions[self.horizon :]
            targets = np.where(np.isfinite(levels), self.tokenizer.encode(levels), PAD)
            source = [self.tokenizer.encode(own), *_encode(self.stream_bins, told.streams)]
            columns = {
                "symbols": np.full(n, symbol, dtype=object),
                "sessions": one.sessions,
                "source": np.column_stack(source).astype(np.int16),
                "condition": np.column_stack(_encode(self.condition_bins, told.conditions)).astype(
                    np.int16
                ),
                "targets": targets.astype(np.int16),
                "known_on": known_on,
                "loc": expected.loc,
                "scale": expected.scale,
                "nu": expected.nu,
                "usable": np.arange(n) >= MIN_HISTORY,
                "lively": lively(one.returns),
            }
            for name, values in columns.items():
                parts.setdefault(name, []).append(values)
        return WindowTable(**{name: np.concatenate(values) for name, values in parts.items()})

    def to_json(self) -> dict[str, Any]:
        """State as JSON values; the tokenizer has a file of its own."""
        return {
            "reference": self.reference.to_json(),
            "streams": [asdict(bins) for bins in self.stream_bins],
            "conditions": [asdict(bins) for bins in self.condition_bins],
        }

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
    data = features(panel)
    expected = {symbol: reference.parameters(symbol, one) for symbol, one in data.items()}
    told = inputs(data, expected)
    return {symbol: (data[symbol], expected[symbol], told[symbol]) for symbol in data}


def _encode(bins: tuple[StreamBins, ...], values: Floats) -> list[Ids]:
    return [one.encode(column) for one, column in zip(bins, values.T, strict=True)]


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
