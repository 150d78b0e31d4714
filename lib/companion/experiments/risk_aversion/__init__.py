"""Beliefs about a gradient, risk-averse rates, and their races."""
