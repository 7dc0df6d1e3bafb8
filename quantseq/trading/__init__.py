"""What a forecast would have earned: policies, fills, costs, measures, and how much was luck.

Owns the way from forecast moments to weights (`policy`), from weights to money (`backtest`), the
one definition of every performance figure (`performance`), the statistics that tell skill from luck
(`luck`) and the record of everything ever tried (`ledger`). Knows nothing of models, tokens or how
a page looks.
"""
