"""Stochastic reaction networks, exact and by leaps."""
