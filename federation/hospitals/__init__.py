"""Template of a federation: replace `load` by what reads your own data, and `rule` by the aggregation you want."""

from companion.experiments.federated_learning.aggregation import InverseVariance
from companion.experiments.federated_learning.patients import NAMES, one_hospital

__all__ = ["NAMES", "load", "rule"]


def load(partition: int):
    """The client's data. Here: one hospital of the public heart-disease table, standardised over all four; only reports are sent."""
    return one_hospital(partition)


def rule(config):
    """The rule, from the run's configuration; server and clients call the same function."""
    return InverseVariance(float(config["lr"]), int(config["steps"]))
