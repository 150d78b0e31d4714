"""Ensembles of 512 small trainings, one program against a loop over what one writes for one run; members equal single runs.

Of the loop a few runs are timed and scaled up. That the members equal those runs is checked.
"""

import numpy as np
import torch
from convolution import Propagation, TwoLayers
from timing import interleaved, main, ratio

from companion.experiments.adversarial_training.classifiers import Classifier, digits
from companion.experiments.adversarial_training.classifiers import train as train_classifiers
from companion.experiments.adversarial_training.robustness import BALLS, trainer
from companion.experiments.graph_hubs.gcn import GCN
from companion.experiments.graph_hubs.graphs import Graph, power_law
from companion.experiments.recurrent_networks.race import train
from companion.experiments.recurrent_networks.tasks import Adding
from stepsize import Adam
from stepsize.ensemble import Fleet
from stepsize.rules import SignDescent

RUNS = 512
CLASSES = 8


def recurrent(runs, sample, steps=50):
    """(all seeds in one program, one seed as usual, seeds that are timed)"""
    task = Adding(B=8, hidden=8)

    def together():
        return train(Adam(3e-3), task, 1.0, range(runs), steps)[0].numpy()

    return together, lambda seed: one_recurrent(task, seed, steps), range(sample)


def one_recurrent(task, seed, steps):
    """torch.nn.RNN, autograd, torch.optim.Adam; same start, same batches."""
    W, U, b, V, c = (part[0] for part in task.net.parts(task.net.start(1.0, [seed])))
    cell = torch.nn.RNN(2, task.hidden, batch_first=True, dtype=torch.float64)
    head = torch.nn.Linear(task.hidden, 1, dtype=torch.float64)
    named = dict(zip("UWbnVc", (*cell.parameters(), *head.parameters()), strict=True))
    with torch.no_grad():
        for name, value in zip("UWbnVc", (U.mT, W.mT, b[0], 0 * b[0], V.mT, c[0]), strict=True):
            named[name].copy_(value)
    named["n"].requires_grad_(False)  # torch has two biases where one is enough
    optimizer = torch.optim.Adam([named[name] for name in "UWbVc"], lr=3e-3)
    for _, (inputs, targets) in zip(range(steps), task.stream([seed]), strict=False):
        optimizer.zero_grad()
        (head(cell(inputs[0].transpose(0, 1))[0][:, -1]) - targets[0]).square().mean().backward()
        optimizer.step()
    parts = named["W"].mT, named["U"].mT, named["b"], named["V"].mT, named["c"]
    return torch.cat([p.detach().flatten() for p in parts]).numpy()


def graph(runs, sample, steps=50, n=64, features=16):
    rng, sparse = np.random.default_rng(0), power_law(n, 6.0, seed=3)
    made = Graph(n, sparse.edges, rng.integers(CLASSES, size=n), rng.standard_normal((n, features)).astype(np.float32))
    net = GCN.of(made, hidden=8)
    starts = np.stack([net.start(seed) for seed in range(runs)])
    rows = np.stack([np.random.default_rng(seed).permutation(n)[: n // 2] for seed in range(runs)])

    def together():
        fleet = Fleet([Adam(0.01)] * runs, starts.copy())
        for _ in range(steps):
            fleet.step(net.backward(fleet.x, made.label, rows).gradient)
        return fleet.x

    return together, lambda seed: one_graph(made, torch.from_numpy(rows[seed]), starts[seed], steps), range(sample)


def one_graph(graph, rows, start, steps):
    """A module, autograd, torch.optim.Adam, the smoothed features computed once."""
    x, label = torch.from_numpy(graph.features), torch.from_numpy(graph.label)
    F, k = x.shape[1], len(start)
    A, net = Propagation(graph), TwoLayers(F, (k // (F + CLASSES)), CLASSES)
    with torch.no_grad():
        smoothed, cut = A(x), F * net.W0.shape[1]
        net.W0.copy_(torch.from_numpy(start[:cut]).reshape(net.W0.shape))
        net.W1.copy_(torch.from_numpy(start[cut:]).reshape(net.W1.shape))
    optimizer = torch.optim.Adam(net.parameters(), 0.01)
    for _ in range(steps):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(net(A, smoothed)[rows], label[rows]).backward()
        optimizer.step()
    return np.concatenate([net.W0.detach().ravel(), net.W1.detach().ravel()])


def adversarial(runs, sample, epochs=5):
    """Epochs of two batches each, so that the start of a run is not most of it; a rate of its own for every run."""
    net, images, radius = Classifier((64, 8, 10)), digits(0)[0][:32], BALLS["L∞"].radius
    attack = trainer(SignDescent(radius), BALLS["L∞"], 3, net)
    rates = np.geomspace(0.003, 0.03, runs)

    def together():
        return train_classifiers(
            net, Adam(torch.tensor(rates)[:, None]), range(runs), images, epochs, 16, attack
        ).numpy()

    return together, lambda seed: one_adversarial(net, seed, rates[seed], images, epochs, 16, 3, radius), range(sample)


def one_adversarial(net, seed, lr, images, epochs, batch, steps, radius):
    """torch.nn, autograd, torch.optim.Adam; same start, batches and random starts.

    Projected sign ascent from a random point, the point of smallest margin is trained on.  Madry et al. (2018).
    """
    layers = [torch.nn.Linear(a, b, dtype=torch.float64) for a, b in zip(net.sizes[:-1], net.sizes[1:], strict=True)]
    model = torch.nn.Sequential(layers[0], *(part for layer in layers[1:] for part in (torch.nn.ReLU(), layer)))
    with torch.no_grad():
        for layer, (W, b) in zip(layers, net.layers(net.start([seed])), strict=True):
            layer.weight.copy_(W[0].mT), layer.bias.copy_(b[0, 0])
    optimizer, rng = torch.optim.Adam(model.parameters(), lr), np.random.default_rng([seed, 1])
    loss_of = torch.nn.functional.cross_entropy
    for _ in range(epochs):
        for rows in torch.from_numpy(rng.permutation(len(images.y))).split(batch):
            u, y = images.u[rows], images.y[rows]
            seen = (u + torch.from_numpy(radius * rng.uniform(-1, 1, u.shape))).clamp(0, 1)
            worst, least = seen, torch.full((len(y),), torch.inf, dtype=u.dtype)
            for k in range(steps + 1):
                seen.requires_grad_(k < steps)
                z = model(seen)
                with torch.no_grad():
                    rivals = z.scatter(1, y[:, None], -torch.inf).amax(1)
                    margin = z.gather(1, y[:, None])[:, 0] - rivals
                    worst = torch.where((margin < least)[:, None], seen, worst)
                    least = torch.minimum(margin, least)
                if k < steps:
                    (g,) = torch.autograd.grad(loss_of(z, y, reduction="sum"), seen)
                    with torch.no_grad():
                        seen = (u + (seen + radius * g.sign() - u).clamp(-radius, radius)).clamp(0, 1)
            optimizer.zero_grad()
            loss_of(model(worst), y).backward()
            optimizer.step()
    return np.concatenate([p.detach().numpy().ravel() for q in layers for p in (q.weight.mT, q.bias)])


def measure(tiny):
    torch.set_num_threads(1)
    runs, sample, rounds = (16, 2, 2) if tiny else (RUNS, 8, 5)
    for name, build in (("recurrent", recurrent), ("graph", graph), ("adversarial", adversarial)):
        together, alone, seeds = build(runs, sample)
        members, singles = together(), np.stack([alone(seed) for seed in seeds])
        apart = np.abs(members[: len(singles)] - singles).max()
        if not apart < (1e-4 if singles.dtype == np.float32 else 1e-9):
            raise RuntimeError(f"{name}: members differ by {apart:.1e} from single runs")
        jobs = {"ours": together, "peer": lambda alone=alone, seeds=seeds: [alone(seed) for seed in seeds]}
        times = interleaved(jobs, rounds, warm=1)
        yield name, ratio(times["peer"] * runs / sample, times["ours"])


if __name__ == "__main__":
    main(measure)
