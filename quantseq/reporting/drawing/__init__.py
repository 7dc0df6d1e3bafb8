"""From arrays to pictures: every chart, its axes, its colours, and the numbers it carries."""
