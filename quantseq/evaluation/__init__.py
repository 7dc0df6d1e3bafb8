"""How good a forecast is: walk-forward folds and significance.

Does not know how a model works inside, nor what anybody would have earned with it.
"""
