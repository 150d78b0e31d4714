"""The metric of a rule, the Fisher information, and invariance."""
