"""How good a forecast is: walk-forward folds, significance, null runs.

Does not know how a model works inside, nor what anybody would have earned with it.
"""
