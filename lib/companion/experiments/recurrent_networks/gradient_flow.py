"""How far back the gradient of a recurrent network reaches: at the start, in training, and which share of it comes from afar."""

from typing import NamedTuple

import numpy as np

from .network import growth
from .race import METHODS, PROBLEMS, STARTS, Problem, Start, train
from .spikes import Brakes, largest_spikes


def gradient_reach(task, gain: float | None, seeds) -> np.ndarray:
    """|dL / dh_t|, t = 1 ... T, relative to t = T, of untrained networks on their first batch: (seeds, T)."""
    inputs, targets = next(task.stream(seeds))
    size = task.net.backward(task.net.start(gain, seeds), inputs, targets, task.loss, watch=True).through_time.numpy()
    return size[:, 1:] / size[:, -1:]


def growing(task, gain: float | None, seeds, least: float = 10.0) -> np.ndarray:
    """Which networks explode before any training: |dL / dh_1| / |dL / dh_T| >= `least` on their first batch, (seeds,)."""
    return gradient_reach(task, gain, seeds)[:, 0] >= least


def far_share(task, x, seeds, reach: int) -> np.ndarray:
    """|g - g_near| / |g| per network, g_near the gradient that is cut off after `reach` steps: what the far past contributes."""
    batch = next(task.stream(seeds))
    whole, near = (task.net.backward(x, *batch, task.loss, r).gradient for r in (None, reach))
    return ((whole - near).norm(dim=1) / whole.norm(dim=1)).numpy()


def reach_in_training(name: str, entry: dict, problem: Problem, start: Start, seeds, every: int = 25) -> tuple:
    """Training with the cell's own rate, watched: steps (times,), growth per step back in time (times, seeds), final scores (seeds,).

    `name` is a method of `METHODS`, `entry` what `race` returned for it; growth is measured on one batch that stays the same.
    """
    task, times, factors = problem.task, [], []
    inputs, targets = next(task.stream([10_000 + seed for seed in seeds]))

    def watch(t, x, *_):
        if t % every == 0:
            times.append(t)
            factors.append(growth(task.net.backward(x[0], inputs, targets, task.loss, watch=True).through_time.numpy()))

    rule = METHODS[name].at([entry["lr"]], entry["limit"])
    x = train(rule, task, start.gain, seeds, problem.steps, entry["penalty"], watch)
    return np.array(times), np.stack(factors), task.score(x[0])


def reach_by_method(races: dict, where: str, steps: int, seeds) -> dict[str, tuple]:
    """`reach_in_training` from gain 0.3 with SGD, heavy ball and Adam, at their recorded rates for the problem `where`."""
    problem = PROBLEMS[where]._replace(steps=steps)
    return {
        name: reach_in_training(name, races[where, "gain 0.3", name], problem, STARTS["gain 0.3"], seeds)
        for name in ("SGD", "heavy ball", "Adam")
    }


class Watched(NamedTuple):
    """Networks trained with their gradients watched: `Brakes`, final scores (seeds,), longest step of any coordinate in units of lr."""

    brakes: Brakes
    scores: np.ndarray
    longest: float

    def better_half(self) -> np.ndarray:
        """The networks, by number, with the lower scores."""
        return np.argsort(self.scores)[: (len(self.scores) + 1) // 2]

    def better_spikes(self, least: float = 3.0) -> np.ndarray:
        """`Brakes.spikes` of the better half alone."""
        rows = self.brakes.spikes(least)
        return rows[np.isin(rows[:, 3], self.better_half())]

    def largest_spikes(self) -> np.ndarray:
        """The largest spike of each network of the better half, as a row of `Brakes.spikes`, however small it is."""
        return largest_spikes(self.better_spikes(least=0.0))


def watched(name: str, entry: dict, problem: Problem, start: Start, seeds) -> Watched:
    """Training with the cell's own rate; `name` is a method of `METHODS`, `entry` what `race` returned for its rate."""
    brakes, rule = Brakes(), METHODS[name].at([entry["lr"]], entry["limit"])
    x = train(rule, problem.task, start.gain, seeds, problem.steps, entry["penalty"], brakes)
    scores = np.where(x[0].isfinite().all(-1).numpy(), problem.task.score(x[0]), np.inf)
    return Watched(brakes, scores, brakes.longest / entry["lr"])


def watch_exploding(races: dict, digits: Problem, networks: dict) -> dict[tuple[str, int], Watched]:
    """Trainings on the digits from gain 2 or 3, (method, gain) -> `Watched`; `networks` is (method, gain) -> seeds.

    Rates are those of the recorded `races`, for Adam with beta2 = 0.9 that of Adam.
    """
    found = {}
    for (name, gain), seeds in networks.items():
        where, start = "digits from gain 2" if gain == 2 else "digits", f"gain {gain}"
        entry = races[where, start, name.partition(",")[0]]
        found[name, gain] = watched(name, entry, digits, STARTS[start], seeds)
    return found


def survivors(name: str, entry: dict, problem: Problem, start: Start, seeds, factor: float) -> np.ndarray:
    """Which networks (seeds,) are still finite after training at `factor` times the cell's rate."""
    rule = METHODS[name].at([factor * entry["lr"]], entry["limit"])
    x = train(rule, problem.task, start.gain, seeds, problem.steps, entry["penalty"])
    return x[0].isfinite().all(-1).numpy()
