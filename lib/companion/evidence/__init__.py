"""From measurements to verdicts: what a chapter uses."""
