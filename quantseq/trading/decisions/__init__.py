"""How a forecast becomes a position: what will be held, one rule each, and what all rules share."""
