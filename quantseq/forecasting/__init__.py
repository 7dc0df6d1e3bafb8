"""The bridge: money ↔ integers ↔ distributions.

Owns volatility scales, the reference density, the tokenizer, windows, the forecaster, its calibration and
the baselines. Does not know who tests a forecast or trades on it.
"""
