"""What a person reads: one run as a folder, its charts, and one self-contained HTML page.

Owns the run folder, drawing and wording. Does not know how a number came about: every statistic on
the page is computed by the trading and evaluation rooms, or was stored in the run by whoever measured it.
"""
