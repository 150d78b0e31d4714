"""Poisson streams with bursts, and rules that follow them."""
