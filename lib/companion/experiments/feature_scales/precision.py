"""What a number format makes of a rule: gradients of one size, in torch's own optimizers and in ours, format by format."""

from collections.abc import Callable

import numpy as np
import torch

from stepsize.errors import HyperparameterError
from stepsize.optim import Optimizer
from stepsize.rules import AdaGrad, Adam, RMSProp

#: Number formats by the name they are printed with.
FORMATS = {
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
    "float32": torch.float32,
    "float64": torch.float64,
}

#: name -> (parameters, lr, eps) -> optimizer; torch's, with its state in the format of the parameter, and ours.
OPTIMIZERS: dict[str, Callable] = {
    "torch Adam": lambda p, lr, eps: torch.optim.Adam(p, lr=lr, eps=eps),
    "torch Adam, fused": lambda p, lr, eps: torch.optim.Adam(p, lr=lr, eps=eps, fused=True),
    "torch AdamW": lambda p, lr, eps: torch.optim.AdamW(p, lr=lr, eps=eps, weight_decay=0.0),
    "torch RMSprop": lambda p, lr, eps: torch.optim.RMSprop(p, lr=lr, eps=eps),
    "torch Adagrad": lambda p, lr, eps: torch.optim.Adagrad(p, lr=lr, eps=eps),
    "our Adam": lambda p, lr, eps: Optimizer(p, Adam(lr, eps=eps), compiled=False),
    "our RMSProp": lambda p, lr, eps: Optimizer(p, RMSProp(lr, eps=eps), compiled=False),
    "our AdaGrad": lambda p, lr, eps: Optimizer(p, AdaGrad(lr, eps=eps), compiled=False),
}


def moved(optimizer: str, format: str, g: float, eps: float, lr: float = 1e-3, steps: int = 3) -> float:
    """How far a weight that starts at 0 gets, in units of lr, with `steps` gradients g; positive is downhill.

    Without rounding and with eps = 0 Adam moves steps * sign(g).
    """
    for name, known in ((optimizer, OPTIMIZERS), (format, FORMATS)):
        if name not in known:
            raise HyperparameterError(f"unknown {name!r}; use one of {', '.join(known)}")
    p = torch.zeros(1, dtype=FORMATS[format], requires_grad=True)
    opt = OPTIMIZERS[optimizer]([p], lr, eps)
    for _ in range(steps):
        p.grad = torch.full_like(p, g)
        with np.errstate(all="ignore"):  # what is not a number is the finding
            opt.step()
    return 0.0 - p.item() / lr  # 0 rather than -0


def table(g: float, eps: float, optimizers=tuple(OPTIMIZERS)) -> dict[str, dict[str, float]]:
    """`moved` of every optimizer in every format: optimizer -> format -> steps of lr; NaN where it is NaN."""
    return {name: {format: moved(name, format, g, eps) for format in FORMATS} for name in optimizers}


#: torch's optimizers that compute in the format of the parameter, and two that compute in float32.
PLAIN, WIDE = ("torch Adam", "torch AdamW", "torch RMSprop", "torch Adagrad"), ("torch Adam, fused", "our Adam")


def zero_gradients(usual, tenfold) -> dict[str, list[float]]:
    """What gradients of zero do, from `table` with the usual eps and with one ten times as large: condition -> steps of every optimizer."""
    cases = {f"torch computes in {format}": [usual[name][format] for name in PLAIN] for format in FORMATS}
    return cases | {
        "it is float16, but ε = 10⁻⁷": [tenfold[name]["float16"] for name in PLAIN],
        "float16 weights are updated in float32": [usual[name]["float16"] for name in WIDE],
    }


def tables() -> dict[str, dict[str, dict[str, float]]]:
    """`table` in the cases that the chapter shows: gradients of zero with and without eps, and one whose square float16 loses."""
    cases = {
        "g = 0, ε = 10⁻⁸": (0.0, 1e-8),
        "g = 0, ε = 0": (0.0, 0.0),
        "g = 10⁻⁴, ε = 10⁻⁸": (1e-4, 1e-8),
        "g = 10⁻⁴, ε = 10⁻⁷": (1e-4, 1e-7),
    }
    return {words: table(g, eps) for words, (g, eps) in cases.items()}


def smallest(format: str) -> tuple[float, float]:
    """(smallest number above 0, smallest gradient whose square is not 0), both found by halving in the format."""

    def last(survives):
        x = torch.ones((), dtype=FORMATS[format])
        while survives(x / 2):
            x = x / 2
        return x.item()

    return last(lambda x: x > 0), last(lambda x: x * x > 0)
