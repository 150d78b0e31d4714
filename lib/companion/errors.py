"""Errors of the book, its data and its simulators; all are `stepsize.errors.StepsizeError`."""

from stepsize.errors import StepsizeError


class DatasetError(StepsizeError, LookupError):
    """A data set is unknown, its package is missing, or its checksum differs."""


class BookError(StepsizeError, RuntimeError):
    """A chapter, parameter or output that the book cannot be built with."""


class NetworkError(StepsizeError, ValueError):
    """A reaction network, or a request to simulate it, that makes no sense."""


class SimulationError(StepsizeError, RuntimeError):
    """A simulation that cannot be finished: the population explodes or the budget of events is spent."""


class FederationError(StepsizeError, ValueError):
    """A federation that cannot go on, or an update that must not enter it; the message names the client."""
