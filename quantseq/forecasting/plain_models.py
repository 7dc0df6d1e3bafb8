"""Plain models that are told what the network is told: what trees and a perceptron make of the numbers of a close.

Owns how the log of a factor on the reference's scale is learned from those numbers, by the likelihood of the
reference's own t, and how much of it is believed. Knows nothing of tokens; torch is loaded only where a perceptron is
trained.

Each step has models of its own, as many as there are parts of the training days: each has left one part out. `KEPT` of
their mean is used at the steps where what they say goes with the scores of the days they have not seen; else nothing,
which is the reference. The share is fixed, because the reference has seen those days: they ask for less than later
years do.

References
----------
.. [1] Friedman, J. (2001). Greedy function approximation: a gradient boosting machine. Annals of Statistics 29(5).
.. [2] Loshchilov, I. and Hutter, F. (2019). Decoupled weight decay regularization. ICLR.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from joblib import delayed
from numpy.typing import NDArray
from scipy import special
from sklearn.ensemble import HistGradientBoostingRegressor
from threadpoolctl import threadpool_limits

from quantseq.errors import NotEnoughDataError
from quantseq.forecasting.inputs import Numbers, SymbolInputs, score_of_scale
from quantseq.forecasting.reference import LONGEST_STRETCH, Reference, measured
from quantseq.forecasting.rows import MIN_HISTORY, is_moving
from quantseq.forecasting.volatility import aligned_returns
from quantseq.market.bars import Dates, Floats, Panel
from quantseq.progress import parallel

PARTS = 3
"""Parts of the training days, and models of a step."""

KEPT = 0.5
"""Share of what the models say that is believed."""

LEAST_ROWS = 1000
"""Rows of a training block below which nothing is learned."""

MOST_ROWS = 200_000
"""Rows that models are fitted on: of more, every k-th is used."""

JUDGING_ROWS = 30_000
"""Rows of the days left out, at most, on which a model is judged."""


class Learner(ABC):
    """The log of a factor on the scale, learned from numbers."""

    @classmethod
    @abstractmethod
    def fit(cls, x: Numbers, z: Floats, nu: Floats, seed: int) -> Self:
        """Learn from numbers (R, K) and what came of it: returns (R,) in units of the scale, t with ν (R,)."""

    @abstractmethod
    def factor(self, x: Numbers) -> Floats:
        """The log of the factor of each row, (R,); its bits do not depend on the other rows."""


@dataclass(frozen=True)
class Trees(Learner):
    """Boosted trees [1]_ on the score of the scale: one step of Fisher scoring, whose information is 2ν/(ν + 3)."""

    model: Any

    @classmethod
    def fit(cls, x: Numbers, z: Floats, nu: Floats, seed: int) -> Self:
        """See `Learner.fit`."""
        model = HistGradientBoostingRegressor(
            learning_rate=0.08,
            max_iter=40,
            max_leaf_nodes=31,
            min_samples_leaf=1000,
            l2_regularization=10.0,
            max_features=0.2,
            early_stopping=False,
            random_state=seed,
        )
        with threadpool_limits(1):
            return cls(model.fit(x, score_of_scale(z * z, nu) * (nu + 3) / (2 * nu)))

    def factor(self, x: Numbers) -> Floats:
        """See `Learner.factor`."""
        with threadpool_limits(1):
            return np.asarray(self.model.predict(x), dtype=np.float64)


@dataclass(frozen=True)
class Perceptron(Learner):
    """Two hidden layers with SiLU and dropout, trained by AdamW [2]_ on the t's likelihood."""

    layers: tuple[tuple[Numbers, Numbers], ...]  # weights (inputs, outputs) and biases

    @classmethod
    def fit(
        cls,
        x: Numbers,
        z: Floats,
        nu: Floats,
        seed: int,
        *,
        hidden: int = 32,
        dropout: float = 0.4,
        epochs: int = 6,
        batch_size: int = 512,
        rate: float = 3e-3,
    ) -> Self:
        """See `Learner.fit`; it starts from no factor at all."""
        import torch  # whoever fits another baseline does without
        from torch import nn

        from quantseq.seq2seq.training import set_threads

        set_threads(1)
        parts: list[nn.Module] = []
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            for size in (x.shape[1], hidden):
                parts += [nn.Linear(size, hidden), nn.SiLU(), nn.Dropout(dropout)]
            last = nn.Linear(hidden, 1)
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)
            network = nn.Sequential(*parts, last)
            batches = -(-len(x) // batch_size)
            optimiser = torch.optim.AdamW(network.parameters(), lr=rate, weight_decay=0.01)
            schedule = torch.optim.lr_scheduler.OneCycleLR(
                optimiser, rate, total_steps=epochs * batches
            )
            numbers = torch.from_numpy(x)
            squares, freedom = (torch.from_numpy(v.astype(np.float32)) for v in (z * z, nu))
            for _ in range(epochs):
                for rows in torch.randperm(len(x)).chunk(batches):
                    factor, own = network(numbers[rows])[:, 0], freedom[rows]
                    relative = squares[rows] * torch.exp(-2 * factor)
                    loss = ((own + 1) / 2 * torch.log1p(relative / own) + factor).mean()
                    optimiser.zero_grad()
                    loss.backward()
                    optimiser.step()
                    schedule.step()
        linear = [part for part in network if isinstance(part, nn.Linear)]
        weights = (tuple(p.detach().numpy() for p in one.parameters()) for one in linear)
        return cls(tuple((np.ascontiguousarray(w.T), b) for w, b in weights))

    def factor(self, x: Numbers) -> Floats:
        """See `Learner.factor`."""
        for place, (weight, bias) in enumerate(self.layers):
            if place:
                x = x * special.expit(x)
            # Number by number: a matrix product may choose another kernel for another count of rows.
            found = np.repeat(bias[None], len(x), axis=0)
            for column, row in zip(x.T, weight, strict=True):
                found += column[:, None] * row
            x = found
        return x[:, 0].astype(np.float64)


@dataclass(frozen=True, eq=False)
class _Told:
    """Rows of a training block: what was known, and what came."""

    numbers: Numbers  # (R, NUM_NUMBERS), in the reference's measure, as `days`
    days: Numbers  # (R, H, NUM_DAYS + NUM_EVENTS), and events, of the sessions to come
    z: Floats  # (R, H), returns in units of the reference's scale
    nu: Floats  # (R, H), its degrees of freedom
    sessions: Dates
    part: NDArray[np.intp]  # of the training days, 0 to PARTS − 1

    @classmethod
    def of(cls, panel: Panel, reference: Reference) -> Self:
        """All of a panel, or every k-th row of it."""
        data = reference.inputs(panel)
        rows = {symbol: _rows(one, reference.horizon) for symbol, one in data.items()}
        every = max(1, -(-sum(map(len, rows.values())) // MOST_ROWS))
        parts = []
        for symbol, one in data.items():
            chosen = rows[symbol][::every]
            expected = reference.parameters(symbol, one)
            z = (aligned_returns(one.returns, reference.horizon) - expected.loc) / expected.scale
            numbers, days = measured(one, reference.measure)
            ahead = np.concatenate([days[one.place[chosen]], reference.events(one)[chosen]], axis=2)
            seen = numbers[chosen], ahead, z[chosen]
            parts.append((*seen, expected.nu[chosen], one.sessions[chosen]))
        columns: list[Any] = [np.concatenate(column) for column in zip(*parts, strict=True)]
        order = np.unique(columns[-1], return_inverse=True)[1]
        columns.append(order * PARTS // (int(order.max(initial=0)) + 1))
        return cls(*columns)

    def told(self, rows: NDArray[np.intp], step: int) -> Numbers:
        """What the models of a step read."""
        return np.concatenate([self.numbers[rows], self.days[rows, step]], axis=1)


def _rows(one: SymbolInputs, horizon: int) -> NDArray[np.intp]:
    """Sessions of a price that moves with all that is needed before and after them."""
    place = np.arange(len(one.sessions))
    return np.flatnonzero(
        (place >= MIN_HISTORY) & (place < len(place) - horizon) & is_moving(one.returns)
    )


def _fit_one(kind: type[Learner], told: _Told, part: int, step: int) -> tuple[Learner, Floats]:
    """A model that has not seen a part, and the products of factor and score there by day."""
    seen, unseen = (np.flatnonzero(rows) for rows in (told.part != part, told.part == part))
    model = kind.fit(told.told(seen, step), told.z[seen, step], told.nu[seen, step], part)
    unseen = unseen[:: max(1, -(-len(unseen) // JUDGING_ROWS))]
    score = score_of_scale(told.z[unseen, step] ** 2, told.nu[unseen, step])
    gain = score * model.factor(told.told(unseen, step))
    day = np.unique(told.sessions[unseen], return_inverse=True)[1]
    return model, np.bincount(day, gain) / np.bincount(day)


@dataclass(frozen=True)
class Stretch:
    """What is learned about each step: models, and the share of them that is believed."""

    models: tuple[tuple[Learner, ...], ...]  # of each step
    kept: tuple[float, ...]

    @classmethod
    def fit(
        cls, panel: Panel, reference: Reference, *, kind: type[Learner], name: str, jobs: int
    ) -> Self:
        """Learn from a training panel; the numbers are the same for any number of jobs.

        NotEnoughDataError if fewer than `LEAST_ROWS` rows can be learned from.
        """
        told = _Told.of(panel, reference)
        if len(told.z) < LEAST_ROWS:
            raise NotEnoughDataError(
                f"{name} found {len(told.z)} usable sessions; it needs {LEAST_ROWS}. Give a longer history or "
                "more symbols, or leave this baseline out."
            )
        places = [(step, part) for step in range(reference.horizon) for part in range(PARTS)]
        tasks = (delayed(_fit_one)(kind, told, part, step) for step, part in places)
        found = list(parallel(jobs)(tasks))
        models, kept = [], []
        for step in range(reference.horizon):
            own = found[step * PARTS : (step + 1) * PARTS]
            models.append(tuple(model for model, _ in own))
            gain = float(np.mean(np.concatenate([days for _, days in own])))
            kept.append(KEPT if gain > 0 else 0.0)
        return cls(tuple(models), tuple(kept))

    def at(
        self, one: SymbolInputs, rows: NDArray[np.intp], reference: Reference, horizon: int
    ) -> Floats:
        """The log of the factor at some sessions, (M, H)."""
        (numbers, days), events = measured(one, reference.measure), reference.events(one)
        found = np.zeros((len(rows), horizon))
        for step, (models, kept) in enumerate(zip(self.models[:horizon], self.kept, strict=False)):
            if kept and len(rows):
                ahead = days[one.place[rows], step], events[rows, step]
                x = np.concatenate([numbers[rows], *ahead], axis=1)
                total = np.zeros(len(rows))
                for model in models:
                    total += model.factor(x)
                found[:, step] = kept / len(models) * total
        return np.clip(found, -LONGEST_STRETCH, LONGEST_STRETCH)
