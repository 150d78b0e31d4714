"""One gradient far larger than the others: what each moment makes of it, by formula, in training, and when it is infinite.

Size k: the spike over the ordinary gradient. The frozen time afterwards is `responses.steps_until`, all steps together
`responses.reach`.
"""

from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.lib.stride_tricks import sliding_window_view

from stepsize.errors import ShapeError
from stepsize.responses import adam_worst_gradients
from stepsize.rules import SGD, Adam, HeavyBall, RMSProp, SignDescent
from stepsize.signals import respond
from stepsize.transforms import ClipByNorm, ClipByValue, chain

#: Where a coordinate counts as thrown; the learning rate of `aftermath` should be 1 or less.
THROWN = 1e6


@dataclass
class Brakes:
    """A watcher of `race.train` that splits every step into what g, m and v contribute.

    size |g|; by_m |rate' m| / |rate' g|; by_v |rate m| / |rate' m|, with rate' the rate of the step before, m the direction.
    Lists of arrays of shape (rates, seeds); |rate m| = |rate' g| by_m by_v. `longest` is the longest step of any coordinate.
    """

    size: list = field(default_factory=list)
    by_m: list = field(default_factory=list)
    by_v: list = field(default_factory=list)
    before: torch.Tensor | None = None
    longest: float = 0.0

    def __call__(self, t, x, g, rate, direction):
        step = rate * direction
        self.longest = max(self.longest, float(step.abs().nan_to_num(0.0).max()))
        if self.before is not None:
            plain, steered, made = (s.norm(dim=-1) for s in (self.before * g, self.before * direction, step))
            for series, value in (
                (self.size, g.norm(dim=-1)),
                (self.by_m, steered / plain),
                (self.by_v, made / steered),
            ):
                series.append(value.numpy())
        self.before = rate

    def spikes(self, least: float = 3.0, window: int = 100) -> np.ndarray:
        """Rows (k, brake by m, brake by v, run, t) of the steps whose |g| is `least` times the median of the `window` steps before.

        m is always shorter than g, for an average cancels; its brake is by_m over its own median in that window. t counts the
        gradients of the training, that of the spike included.
        """
        size, by_m, by_v = (np.stack(series).reshape(len(series), -1) for series in (self.size, self.by_m, self.by_v))
        if len(size) <= window:
            raise ShapeError(f"{len(size)} steps are no more than the window of {window}; train longer")
        # windows[t] are the `window` values before value t + window
        usual_size, usual_m = (
            np.median(sliding_window_view(series, window, axis=0)[:-1], axis=-1) for series in (size, by_m)
        )
        size, by_m, by_v = (series[window:] for series in (size, by_m, by_v))
        k = size / usual_size
        t, run = np.nonzero((k >= least) & np.isfinite(k))
        # the first gradient has no rate before it, so that series[0] is the second
        columns = k[t, run], by_m[t, run] / usual_m[t, run], by_v[t, run], run, t + window + 2
        rows = np.stack(columns, axis=1)
        return rows[np.isfinite(rows).all(1) & (rows[:, 1:3] > 0).all(1)]


def corrected(t, beta2=0.999):
    """1 - (1 - beta2) / (1 - beta2^t): in place of beta2 it makes `responses.spike_brake` and `spike_halved` hold at gradient number t.

    The bias correction gives the newest square the weight (1 - beta2) / (1 - beta2^t), and what came before the rest.
    """
    return 1 - (1 - beta2) / (1 - beta2**t)


def largest_spikes(rows: np.ndarray) -> np.ndarray:
    """Of the rows of `Brakes.spikes` the one with the largest k of each run."""
    order = np.lexsort((-rows[:, 0], rows[:, 3]))
    return rows[order[np.unique(rows[order, 3], return_index=True)[1]]]


def longest_steps() -> dict[str, float]:
    """The longest step of Adam in learning rates: at spikes of size 1 to 1e12 after a quiet time, and at the end of the worst gradients there are."""
    rule, quiet = Adam(1.0, eps=0.0), np.where(np.arange(10_000) % 2, -1.0, 1.0)[:, None] * np.ones(13)
    quiet[-1] = 10.0 ** np.arange(13)
    streams = {"spikes of any size": quiet, "the worst sequence of gradients": adam_worst_gradients(3000)[:, None]}
    paths = {when: respond(rule, gradients[..., None]) for when, gradients in streams.items()}
    return {when: float(np.abs(path.rate[-1] * path.direction[-1]).max()) for when, path in paths.items()}


def aftermath(rule, value: float, dtype=torch.float32, ordinary: int = 50) -> tuple[str, str]:
    """What becomes of a coordinate whose gradient is once `value`, and of its neighbour: "moves", "stands still", "thrown" (beyond a million steps), "infinite" or "NaN".

    Two coordinates with gradients 1, -1, 1, ...; `value` hits the first one; as many ordinary steps follow as came before.
    """
    x = torch.zeros(1, 2, dtype=dtype)
    state = rule.init(x)
    for t in range(2 * ordinary + 1):
        g = torch.full_like(x, (-1.0) ** t)
        if t == ordinary:
            g[0, 0] = value
        state, rate, direction = rule.step(state, g, x)
        before, x = x, x - rate * direction
    return tuple(map(_fate, before[0].tolist(), x[0].tolist()))


def fates() -> dict[str, str]:
    """`aftermath` of the rules at 1e20, infinity and NaN, "rule value" -> what becomes of the coordinate, and of the other where that too is hit."""
    rules = {
        "SGD": SGD(),
        "heavy ball": HeavyBall(),
        "sign": SignDescent(),
        "RMSProp": RMSProp(),
        "Adam": Adam(),
        "norm": chain(ClipByNorm(1.0), Adam()),
        "value": chain(ClipByValue(1.0), Adam()),
    }
    found = {}
    for name, rule in rules.items():
        for word, value in (("large", 1e20), ("inf", np.inf), ("nan", np.nan)):
            hit, other = aftermath(rule, value)
            found[f"{name} {word}"] = hit if other == "moves" else f"{hit}, the other too"
    return found


def _fate(before: float, after: float) -> str:
    if np.isnan(after):
        return "NaN"
    if not np.isfinite(after):
        return "infinite"
    return "thrown" if abs(after) > THROWN else "stands still" if before == after else "moves"
