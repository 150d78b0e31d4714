"""Recurrent networks whose gradients vanish or explode."""
