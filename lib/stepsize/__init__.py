"""stepsize: adaptive learning rates in one contract, x <- x - rate * direction.

Only NumPy is imported here; torch, SciPy and SymPy are imported by the modules that need them.
"""

from .average import Average
from .descent import Path, Step, descend, walk
from .rules import SGD, AdaBelief, AdaGrad, Adam, AMSGrad, HeavyBall, RMSProp, SignDescent
from .transforms import ClipByNorm, ClipByValue, chain
from .tuning import Tuned, tune
from .wrappers import Coupled, Decoupled, InverseRoot, LinearDecay

__version__ = "0.1.0"

__all__ = [
    "SGD",
    "AMSGrad",
    "AdaBelief",
    "AdaGrad",
    "Adam",
    "Average",
    "ClipByNorm",
    "ClipByValue",
    "Coupled",
    "Decoupled",
    "HeavyBall",
    "InverseRoot",
    "LinearDecay",
    "Path",
    "RMSProp",
    "SignDescent",
    "Step",
    "Tuned",
    "chain",
    "descend",
    "tune",
    "walk",
]
