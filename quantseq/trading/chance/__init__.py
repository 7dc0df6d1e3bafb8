"""What chance alone would have brought: intervals, discounts for trials, and placebos."""
