"""The bridge: money ↔ integers ↔ distributions.

Owns volatility scales, the reference density, the tokenizer, windows, the forecaster and its rivals,
scores and calibration. Does not know who tests a forecast or trades on it.
"""
