"""Many trials at once: what is tried, how it is chosen from, and the ledger that remembers it."""
