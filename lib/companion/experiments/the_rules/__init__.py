"""What rules make of gradients that are known beforehand, and of a noisy bowl."""
