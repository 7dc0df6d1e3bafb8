"""What the proof on toy tasks is built of: the tasks, ways to train them, and how well they are done."""
