"""Plateaus that end in sharp valleys, and valleys turned against the axes."""
