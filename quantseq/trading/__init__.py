"""What a forecast would have earned: policies, fills, costs, measures, and how much was luck.

Owns the way from forecast moments to weights (`holding`, `rules`, `sizing`, `policy`), from weights to
money (`backtest`, `orders`, `account`, `limits`, `costs`), where it came from (`attribution`), what
would have been earned without a forecast (`rivals`), the one definition of every performance figure
(`measures`, `performance`), the statistics that tell skill from luck (`luck`) and the record of
everything ever tried (`ledger`). Knows nothing of tokens, networks or how a page looks.
"""
