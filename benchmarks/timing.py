"""Times of several programs, measured in turns, and what a benchmark hands to the record."""

import argparse
import json
import random
import resource
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np


def processor() -> float:
    """Processor seconds of this process, all threads, and of the processes that it has waited for."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def interleaved(
    jobs: dict[str, Callable], rounds: int, clock=processor, warm: int = 2, rest: float = 0.0
) -> dict[str, np.ndarray]:
    """Seconds of every call, (rounds,) each; the first `warm` rounds compile and fill caches and do not count.

    The order is drawn anew in every round: nobody profits from what the same predecessor left in the caches. `rest`: seconds
    before every call, since threads of OpenMP spin for a while after their work and would take a core from the next.
    """
    rng, seconds = random.Random(0), {name: [] for name in jobs}
    for _ in range(rounds + warm):
        for name in rng.sample(list(jobs), len(jobs)):
            time.sleep(rest)
            start = clock()
            jobs[name]()
            seconds[name].append(clock() - start)
    return {name: np.array(s[warm:]) for name, s in seconds.items()}


def ratio(above, below, **more) -> dict:
    """above / below, round by round: median, least and largest; `more` goes into the record as it is."""
    above, below = np.asarray(above, float), np.asarray(below, float)
    rounds = above / below
    found = {"ratio": np.median(rounds), "low": rounds.min(), "high": rounds.max()}
    return {name: float(f"{value:.4g}") for name, value in found.items()} | {"rounds": len(rounds)} | more


def curve(size: str, what: str, times: dict[str, dict[int, np.ndarray]]) -> dict:
    """Median milliseconds of `what` against `size`, name -> size -> seconds of every round; the first name is ours."""
    points = {
        name: {str(n): float(f"{1e3 * np.median(s):.4g}") for n, s in by_size.items()}
        for name, by_size in times.items()
    }
    return {"size": size, "milliseconds": what, "points": points}


def main(measure: Callable[[bool], Iterable[tuple[str, dict]]]) -> None:
    """A benchmark as a program. `measure(tiny)` yields (key of a row of the plan, `ratio`); --to writes them as they come."""
    parser = argparse.ArgumentParser(description="--tiny: small sizes and two rounds, to see that it runs")
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--to", type=Path, help="a file for the results, JSON")
    args, found = parser.parse_args(), {}
    start = time.perf_counter()
    for key, result in measure(args.tiny):
        found[key] = result
        span = f"{result['ratio']:.3g} ({result['low']:.3g} to {result['high']:.3g})"
        print(f"  {key:30s} {span:28s} {time.perf_counter() - start:5.0f} s", flush=True)
        if args.to:
            args.to.write_text(json.dumps(found))
