"""What training is built of: the loss, the step, what changes while it goes on, and what it tells."""
