"""Every error of the library: one hierarchy, messages that name the value and the remedy."""


class StepsizeError(Exception):
    """Base of all errors raised on purpose; catch it to catch them all."""


class HyperparameterError(StepsizeError, ValueError):
    """A hyper-parameter lies outside its domain."""


class ShapeError(StepsizeError, ValueError):
    """Arrays whose shapes or dtypes do not fit together."""


class TraceError(StepsizeError, TypeError):
    """A rule that cannot be read as a formula, because it branches on data or leaves the common operators."""


class NonFiniteError(StepsizeError, FloatingPointError):
    """A gradient or an iterate became NaN or infinite."""


class DatasetError(StepsizeError, LookupError):
    """A data set is unknown, its package is missing, or its checksum differs."""


class EvidenceError(StepsizeError, ValueError):
    """Evidence that cannot be judged, or a claim that is unknown, repeated or left without evidence."""


class BookError(StepsizeError, RuntimeError):
    """A chapter, parameter or output that the book cannot be built with."""


class NetworkError(StepsizeError, ValueError):
    """A reaction network, or a request to simulate it, that makes no sense."""


class SimulationError(StepsizeError, RuntimeError):
    """A simulation that cannot be finished: the population explodes or the budget of events is spent."""


class FederationError(StepsizeError, ValueError):
    """A federation that cannot go on, or an update that must not enter it; the message names the client."""
