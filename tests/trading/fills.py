"""What an account traded, as a table to look at."""

import numpy as np
import pandas as pd

from quantseq.trading.account import BacktestResult


def fills_of(result: BacktestResult) -> pd.DataFrame:
    """Every fill: session, symbol, shares (negative: sold), price, notional, cost."""
    session, symbol = np.nonzero(result.traded)
    shares, price = result.traded[session, symbol], result.fill_prices[session, symbol]
    return pd.DataFrame(
        {
            "session": pd.DatetimeIndex(result.sessions.astype("datetime64[s]"))[session],
            "symbol": np.asarray(result.symbols, dtype=object)[symbol],
            "shares": shares,
            "price": price,
            "notional": np.abs(shares * price),
            "cost": result.order_costs.sum(axis=0)[session, symbol],
        }
    )
