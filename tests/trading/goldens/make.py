"""Numbers of other people's engines and libraries, frozen: ``python tests/trading/goldens/make.py``.

Needs the extra ``oracle``. Writes ``oracles.json`` beside itself; the tests compare with it, and with
the libraries themselves where they are installed.
"""

import json
import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).parent))
import cases

FILE = Path(__file__).with_name("oracles.json")


def vectorbt(book: str, fill: str, fees: float) -> list[float]:
    """Equity by session from the second on: a decision is filled in the session after it."""
    import vectorbt as vbt

    opens, closes = (pd.DataFrame(one, cases.index()) for one in cases.prices())
    at = opens if fill == "open" else closes
    portfolio = vbt.Portfolio.from_orders(
        closes,
        size=pd.DataFrame(cases.weights(book), cases.index()).shift(1),
        price=at,
        val_price=at,
        fees=fees,
        size_type="targetpercent",
        group_by=True,
        cash_sharing=True,
        call_seq="auto",
        init_cash=1.0,
    )
    return list(np.asarray(portfolio.value(), dtype=float)[1:])


def bt(book: str) -> list[float]:
    """Equity by session from the second on; bt fills at the close, so the weights come a day late."""
    import bt as library

    _, closes = cases.prices()
    names = [f"S{k}" for k in range(cases.SYMBOLS)]
    frame = pd.DataFrame(closes, cases.index(), names)
    target = pd.DataFrame(cases.weights(book), cases.index(), names).shift(1).iloc[1:]
    strategy = library.Strategy(
        "golden", [library.algos.WeighTarget(target), library.algos.Rebalance()]
    )
    test = library.Backtest(
        strategy,
        frame,
        initial_capital=1e6,
        integer_positions=False,
        commissions=lambda quantity, price: 0.0,
        progress_bar=False,
    )
    library.run(test)
    value = test.strategy.values.reindex(cases.index())  # noqa: PD011  (a Series of bt's)
    return list((value / 1e6).to_numpy(dtype=float)[1:])


def measures() -> dict[str, dict[str, float]]:
    """Performance figures by library, under our names."""
    import empyrical
    import skfolio.measures as skfolio
    import statsmodels.api as sm

    own, other = cases.returns()
    line = sm.OLS(own, sm.add_constant(other)).fit()
    drawdowns = skfolio.get_drawdowns(own, compounded=True)
    return {
        "empyrical-reloaded": {
            "total_return": empyrical.cum_returns_final(own),
            "cagr": empyrical.annual_return(own),
            "volatility": empyrical.annual_volatility(own),
            "sharpe": empyrical.sharpe_ratio(own),
            "sortino": empyrical.sortino_ratio(own),
            "max_drawdown": empyrical.max_drawdown(pd.Series(own)),
            "calmar": empyrical.calmar_ratio(pd.Series(own)),
            "var_95": empyrical.value_at_risk(own),
            "es_95": empyrical.conditional_value_at_risk(own),
            "beta": empyrical.beta(own, other),
            "information_ratio": empyrical.excess_sharpe(own, other) * np.sqrt(252),
        },
        "skfolio": {
            "volatility": skfolio.standard_deviation(own) * np.sqrt(252),
            "sharpe": skfolio.mean(own) / skfolio.standard_deviation(own) * np.sqrt(252),
            "max_drawdown": -skfolio.max_drawdown(drawdowns),
            "worst_day": -skfolio.worst_realization(own),
            "psr": skfolio.probabilistic_sharpe_ratio(own),
        },
        "statsmodels": {"beta": line.params[1], "alpha": line.params[0] * 252},
    }


def make() -> dict[str, object]:
    """Everything that is frozen."""
    names = ("vectorbt", "bt", "empyrical-reloaded", "skfolio", "statsmodels")
    engines = {
        f"{book} {fill} {bps}": vectorbt(book, fill, bps / 1e4)
        for book in ("long", "both")
        for fill in ("open", "close")
        for bps in (0, 5)
    }
    figures = {
        library: {name: float(value) for name, value in one.items()}
        for library, one in measures().items()
    }
    return {
        "versions": {name: version(name) for name in names},
        "vectorbt": engines,
        "bt": {book: bt(book) for book in ("long", "both")},
        "measures": figures,
    }


if __name__ == "__main__":
    FILE.write_text(json.dumps(make(), indent=1) + "\n", encoding="utf-8")
