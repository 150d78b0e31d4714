"""An epoch of a two-layer graph convolution against torch-geometric, and an ensemble against a loop of single runs.

python benchmarks/gcn.py         # STEPSIZE_PYG=/path/to/python where torch-geometric has an environment of its own

The peer needs the same torch: in a fresh environment `pip install torch==2.13.0`, then `pip install --no-deps
torch-geometric` and `pip install numpy tqdm aiohttp psutil requests pyparsing xxhash`. Its two forms: `edge_index`, its
default, and a CSR adjacency, which it multiplies with torch.sparse; GCNConv with cached normalisation in both. Both sides
train 64-32-8 networks with Adam, one thread, float32, full batch, on power-law graphs, in turns; medians with least and
most over the rounds. That the two compute the same is checked first. Ours in two forms: A X in every epoch, as the peer
does, and A X once.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from convolution import Propagation, TwoLayers

from companion.experiments.graph_hubs.gcn import GCN
from companion.experiments.graph_hubs.graphs import Graph, power_law
from stepsize import Adam
from stepsize.ensemble import Fleet
from stepsize.optim import Optimizer

FEATURES, HIDDEN, CLASSES = 64, 32, 8
ROUNDS = 7


class Peer:
    def __init__(self):
        python = os.environ.get("STEPSIZE_PYG", sys.executable)
        worker = Path(__file__).with_name("_pyg.py")
        self.process = subprocess.Popen([python, worker], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, **request):
        try:
            print(json.dumps(request), file=self.process.stdin, flush=True)
            return json.loads(self.process.stdout.readline())
        except (BrokenPipeError, json.JSONDecodeError):
            sys.exit("error: the peer gave no answer; install torch-geometric or name its Python in STEPSIZE_PYG")


def show(values, unit=1.0):
    return f"{statistics.median(values) * unit:.3g} ({min(values) * unit:.3g}-{max(values) * unit:.3g})"


def trainer(graph, x, label, once):
    """One epoch of ours as a function, and the network."""
    propagate, net = Propagation(graph), TwoLayers(FEATURES, HIDDEN, CLASSES, torch.Generator().manual_seed(0))
    optimizer = Optimizer(net.parameters(), Adam(0.01), compiled=True)
    with torch.no_grad():
        smoothed = propagate(x)

    def epoch():
        optimizer.zero_grad()
        out = net(propagate, smoothed if once else propagate(x))
        torch.nn.functional.cross_entropy(out, label).backward()
        optimizer.step()

    return epoch, net, lambda: net(propagate, smoothed)


def timed(epoch, epochs):
    start = time.perf_counter()
    for _ in range(epochs):
        epoch()
    return (time.perf_counter() - start) / epochs


def single(peer, folder, n, epochs):
    graph, rng = power_law(n, seed=1), np.random.default_rng(2)
    x, label = rng.standard_normal((n, FEATURES)).astype(np.float32), rng.integers(CLASSES, size=n)
    path, weights = str(folder / f"{n}.npz"), str(folder / "w.npz")
    np.savez(path, x=x, label=label, edges=graph.edges, hidden=HIDDEN, classes=CLASSES)
    ours = {once: trainer(graph, torch.from_numpy(x), torch.from_numpy(label), once) for once in (False, True)}
    _, net, forward = ours[True]
    np.savez(weights, **{name: W.detach().numpy() for name, W in net.named_parameters()})
    for form in ("default", "csr"):
        theirs = np.array(peer.ask(path=path, form=form, weights=weights)["logits"])
        apart = np.abs(forward().detach().numpy()[:50] - theirs).max() / np.abs(theirs).max()
        assert apart < 1e-5, f"{form}: the two networks differ by {apart:.2g}"
        peer.ask(path=path, form=form, epochs=2)
    for epoch, *_ in ours.values():
        timed(epoch, 2)
    times = {name: [] for name in ("default", "csr", False, True)}
    for k in range(ROUNDS):
        for name in np.roll(np.array(list(times), object), k):
            known = isinstance(name, bool)
            times[name].append(timed(ours[name][0], epochs) if known else peer.ask(path=path, form=name, epochs=epochs)["seconds"])  # fmt: skip
    print(f"\n{n} nodes, {len(graph.edges)} edges, highest degree {graph.degree.max()}; ms per epoch")
    for name, label in (
        ("default", "torch-geometric"),
        ("csr", "torch-geometric, CSR"),
        (False, "ours"),
        (True, "ours, A X once"),
    ):
        ratios = [
            f"{show([t / o for t, o in zip(times[form], times[name], strict=True)])} x {form}"
            for form in ("default", "csr")
            if isinstance(name, bool)
        ]
        print(f"  {label:22s}{show(times[name], 1e3):28s}{', '.join(ratios)}", flush=True)


def alone(graph, x, label, rows, start, steps):
    """One run as one would write it: a module, autograd, torch's Adam."""
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


def ensemble(runs=512, steps=50, n=64, features=16, sample=16):
    """Ours are all runs at once; of the loop `sample` runs are timed."""
    rng, sparse = np.random.default_rng(0), power_law(n, 6.0, seed=3)
    graph = Graph(n, sparse.edges, rng.integers(CLASSES, size=n), rng.standard_normal((n, features)).astype(np.float32))
    net = GCN.of(graph, hidden=8)
    starts = np.stack([net.start(seed) for seed in range(runs)])
    rows = np.stack([np.random.default_rng(seed).permutation(n)[: n // 2] for seed in range(runs)])
    x, label = torch.from_numpy(graph.features), torch.from_numpy(graph.label)

    def together(count):
        fleet = Fleet([Adam(0.01)] * count, starts[:count].copy())
        for _ in range(steps):
            fleet.step(net.backward(fleet.x, graph.label, rows[:count]).gradient)
        return fleet.x

    together(2)
    ratios, apart = [], 0.0
    for _ in range(5):
        start = time.perf_counter()
        batch = together(runs)
        ours = (time.perf_counter() - start) / runs
        start = time.perf_counter()
        singles = np.stack([alone(graph, x, label, torch.from_numpy(rows[s]), starts[s], steps) for s in range(sample)])
        ratios.append((time.perf_counter() - start) / sample / ours)
        apart = max(apart, np.abs(batch[:sample] - singles).max())
    print(f"\n{runs} networks {features}-8-{CLASSES} on {n} nodes, {steps} steps: {show(ratios)} times the loop; members differ from single runs by {apart:.1g}")  # fmt: skip


def main():
    torch.set_num_threads(1)
    ensemble()
    peer = Peer()
    with tempfile.TemporaryDirectory() as folder:
        single(peer, Path(folder), 10_000, 10)
        single(peer, Path(folder), 100_000, 2)


if __name__ == "__main__":
    main()
