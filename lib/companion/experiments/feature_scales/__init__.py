"""Regression on features of very different units."""
