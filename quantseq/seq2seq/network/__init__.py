"""What the machine is built of: two halves, the recurrences inside them, and how they look at each other."""
