"""A Poisson stream, per member and observation: this library's ensembles against river, one model at a time.

python benchmarks/streams.py            # interleaved in one process, medians with least and most
"""

import statistics
import time

import numpy as np
from river import linear_model, optim

from companion.experiments.poisson_bursts.race import at_rate
from companion.experiments.poisson_bursts.streams import Stream, follow, poisson_stream
from stepsize import AdaGrad, Adam

STEPS, MEMBERS, RATES, ROUNDS = 1500, 48, 21, 5
#: The same formula on both sides; eps is inside river's AdaGrad root, where it is our initial sum.
PEERS = {
    "Adam": (Adam(1e-2), lambda: optim.Adam(1e-2)),
    "AdaGrad": (AdaGrad(0.1, eps=0, initial=1e-8), lambda: optim.AdaGrad(0.1, eps=1e-8)),
}


def ours(rule, stream):
    """CPU seconds per member and observation of a tuning run: every rate x every member x every count."""
    began = time.process_time()
    follow(at_rate(rule, np.geomspace(1e-4, 1, RATES)[:, None, None]), stream)
    return (time.process_time() - began) / (STEPS * MEMBERS * RATES)


def theirs(optimizer, rows):
    """CPU seconds per observation of one model, features ready as dicts."""
    model = linear_model.LinearRegression(optimizer=optimizer(), loss=optim.losses.Poisson(), intercept_lr=0.0)
    began = time.process_time()
    for x, y in rows:
        model.learn_one(x, y)
    return (time.process_time() - began) / len(rows)


def main():
    stream = poisson_stream(range(MEMBERS), steps=STEPS, start=500, stop=550, flip=1000, burst=10)
    single = Stream(stream.x[:, 0], stream.y[:, 0])
    rows = [({str(i): float(v) for i, v in enumerate(x)}, int(y)) for x, y in zip(single.x, single.y, strict=True)]
    for name, (rule, optimizer) in PEERS.items():
        pairs = [(ours(rule, stream), theirs(optimizer, rows)) for _ in range(ROUNDS)]
        ratios = [b / a for a, b in pairs]
        mine, river = (statistics.median(column) for column in zip(*pairs, strict=True))
        print(
            f"{name:8s} stepsize {mine * 1e9:6.0f} ns, river {river * 1e9:7.0f} ns per member-observation; "
            f"ratio {statistics.median(ratios):.0f} ({min(ratios):.0f}-{max(ratios):.0f}), target 50"
        )


if __name__ == "__main__":
    main()
