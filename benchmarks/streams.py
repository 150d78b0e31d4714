"""A Poisson stream, per model and observation: this library's ensembles against river, one model at a time."""

import numpy as np
from river import linear_model, optim
from timing import interleaved, main, ratio

from companion.experiments.poisson_bursts.race import at_rate
from companion.experiments.poisson_bursts.streams import Stream, follow, poisson_stream
from stepsize import AdaGrad, Adam

STEPS, MEMBERS, RATES = 1500, 48, 21
#: The same formula on both sides; eps is inside river's AdaGrad root, where it is our initial sum.
PEERS = {
    "Adam": (Adam(1e-2), lambda: optim.Adam(1e-2)),
    "AdaGrad": (AdaGrad(0.1, eps=0, initial=1e-8), lambda: optim.AdaGrad(0.1, eps=1e-8)),
}


def measure(tiny):
    members = 4 if tiny else MEMBERS
    stream = poisson_stream(range(members), steps=STEPS, start=500, stop=550, flip=1000, burst=10)
    single = Stream(stream.x[:, 0], stream.y[:, 0])
    # features ready as dicts
    rows = [({str(i): float(v) for i, v in enumerate(x)}, int(y)) for x, y in zip(single.x, single.y, strict=True)]
    for name, (rule, optimizer) in PEERS.items():
        rates = np.geomspace(1e-4, 1, RATES)[:, None, None]

        def river(optimizer=optimizer):
            model = linear_model.LinearRegression(optimizer=optimizer(), loss=optim.losses.Poisson(), intercept_lr=0.0)
            for x, y in rows:
                model.learn_one(x, y)

        jobs = {"ours": lambda rule=rule, rates=rates: follow(at_rate(rule, rates), stream), "peer": river}
        times = interleaved(jobs, 2 if tiny else 9)
        yield name, ratio(times["peer"] * members * RATES, times["ours"])


if __name__ == "__main__":
    main(measure)
