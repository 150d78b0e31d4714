"""Bilinear games, attacks on classifiers, and defenders trained against them."""
