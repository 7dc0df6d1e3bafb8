"""How a position becomes money: orders, what fills them, what they cost, and the account they end in."""
