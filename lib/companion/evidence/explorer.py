"""A valley in which the reader walks: the page computes every step itself, with the JavaScript of the library's rules."""

import json
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from markupsafe import Markup

from stepsize.javascript import javascript
from stepsize.rules import SGD, AdaGrad, Adam, HeavyBall, RMSProp, SignDescent

from .sliders import PAGES, part

#: name -> rule; sliders change what the rule has of lr, beta2 (or beta) and momentum (or beta1).
RULES = {"Adam": Adam(), "RMSProp": RMSProp(), "AdaGrad": AdaGrad(), "sign descent": SignDescent(), "heavy ball": HeavyBall(1e-2, 0.9), "SGD": SGD()}  # fmt: skip

#: label, lowest, highest and first position of a slider; the script turns positions into values.
SLIDERS = {
    "lr": ("learning rate", -3, 1, -1),
    "slow": ("memory of the squares, 1/(1 − β₂)", 0, 4, 3),
    "fast": ("memory of the gradient, 1/(1 − β₁)", 0, 2, 1),
    "ratio": ("steep curvature / flat curvature", 0, 4, 2),
    "angle": ("turn of the valley, degrees", 0, 45, 20),
    "noise": ("size of the gradient noise", 0, 2, 0),
}


def valley(ratio: float, degrees: float):
    """Hessian (2, 2) and start (2,) of the page's valley: curvatures 1 and `ratio`, axes turned by `degrees`, start at (1, -1) in these axes."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    R = np.array([[c, s], [-s, c]])
    return R.T @ np.diag([1.0, ratio]) @ R, R.T @ [1.0, -1.0]


@dataclass(frozen=True, eq=False)
class Explorer:
    """f = (a^2 + ratio b^2) / 2 in turned axes a, b; from one start, `steps` steps of any of the `RULES`, and the rates on the way.

    Noise is drawn here, once, and scaled by the page. Needs a browser with scripts; nothing is loaded from elsewhere.
    """

    steps: int = 300
    seed: int = 0
    rules: dict[str, Any] = field(default_factory=lambda: RULES)

    @property
    def noise(self) -> np.ndarray:
        """Standard normal draws of shape (steps, 2), to three digits."""
        return np.random.default_rng(self.seed).standard_normal((self.steps, 2)).round(3)

    def _repr_html_(self):
        rules = ", ".join(f"{json.dumps(name)}: {javascript(rule)}" for name, rule in self.rules.items())
        return PAGES.get_template("explorer.html").render(
            names=list(self.rules),
            sliders=SLIDERS,
            rules=Markup(f"{{{rules}}}"),
            noise=self.noise.tolist(),
            style=part("sliders.css") + part("explorer.css"),
            script=part("explorer.js"),
        )

    def __repr__(self):
        return f"Explorer of {', '.join(self.rules)}: {self.steps} steps in a valley"
