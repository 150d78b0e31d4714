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


class EvidenceError(StepsizeError, ValueError):
    """Evidence that cannot be judged, or a claim that is unknown, repeated or left without evidence."""


def short(value) -> str:
    """A value as an error message quotes it: on one line and not long."""
    text = " ".join(repr(value).split())
    return text if len(text) <= 60 else f"{text[:57]}..."
