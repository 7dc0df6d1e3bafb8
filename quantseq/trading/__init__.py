"""What a forecast would have earned: policies, fills, costs, measures, and how much was luck.

Owns the way from forecast moments to weights (`policies`), from weights to money (`backtest`,
`account`, `costs`), where it came from (`attribution`), what would have been earned without a
forecast (`benchmarks`), the one definition of every performance figure (`metrics`), the statistics that
tell skill from luck (`inference`), whether a decision knew too much (`audit`) and the record of
everything ever tried (`ledger`). Knows nothing of tokens, networks or how a page looks.
"""
