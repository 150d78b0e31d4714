"""stepsize: adaptive learning rates in one contract, x <- x - rate * direction.

Only NumPy is imported here; torch, SciPy and SymPy are imported by the modules that need them. Every rule of
`rules` and `matrix_rules` and every wrapper of `wrappers` is a name of the package.
"""

from . import matrix_rules, rules, wrappers
from .average import Average
from .descent import Path, Step, descend, walk
from .matrix_rules import *  # noqa: F403
from .rules import *  # noqa: F403
from .transforms import ClipByNorm, ClipByValue, chain
from .tuning import Choice, choose, tune
from .wrappers import *  # noqa: F403

__version__ = "1.0.0"

__all__ = [
    "Average",
    "Choice",
    "ClipByNorm",
    "ClipByValue",
    "Path",
    "Step",
    "chain",
    "choose",
    "descend",
    "tune",
    "walk",
]
__all__ += rules.__all__
__all__ += matrix_rules.__all__
__all__ += wrappers.__all__
