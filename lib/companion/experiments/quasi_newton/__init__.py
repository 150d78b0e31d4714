"""Secant methods with exact and with sampled gradients."""
