"""An epoch of a two-layer graph convolution against torch-geometric's GCNConv with cached normalisation.

The peer in two forms: `edge_index`, its default, and a CSR adjacency, which it multiplies with torch.sparse. Both sides train
64-32-8 networks with Adam, one thread, float32, full batch, on power-law graphs. That they compute the same is checked first.
Ours smooths the features, A X, in every epoch, as the peer does, although once would do.
"""

import numpy as np
import torch
from convolution import Propagation, TwoLayers
from timing import curve, interleaved, main, ratio
from torch_geometric.nn import GCNConv

from companion.experiments.graph_hubs.graphs import power_law
from stepsize import Adam
from stepsize.optim import Optimizer

FEATURES, HIDDEN, CLASSES = 64, 32, 8
FORMS = {"default": "torch-geometric", "csr": "torch-geometric, CSR"}


class Peer(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.first = GCNConv(FEATURES, HIDDEN, cached=True)
        self.second = GCNConv(HIDDEN, CLASSES, cached=True)

    def forward(self, x, edges):
        return self.second(torch.relu(self.first(x, edges)), edges)


def epoch(forward, optimizer, label):
    """A job: one epoch."""

    def job():
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(forward(), label).backward()
        optimizer.step()

    return job


def check(net, ours, peer, theirs):
    """The same outputs for the same weights."""
    with torch.no_grad():
        for conv, W in ((peer.first, net.W0), (peer.second, net.W1)):
            conv.lin.weight.copy_(W.T)
            conv.bias.zero_()
        apart = ((ours() - theirs()).abs().max() / theirs().abs().max()).item()
    if apart > 1e-5:
        raise RuntimeError(f"the two networks differ by {apart:.2g}")


def jobs(n):
    """One epoch of ours and of the peer's two forms."""
    graph, rng = power_law(n, seed=1), np.random.default_rng(2)
    x = torch.from_numpy(rng.standard_normal((n, FEATURES)).astype(np.float32))
    label = torch.from_numpy(rng.integers(CLASSES, size=n))
    propagate, net = Propagation(graph), TwoLayers(FEATURES, HIDDEN, CLASSES, torch.Generator().manual_seed(0))

    def ours():
        return net(propagate, propagate(x))

    made = {"stepsize": epoch(ours, Optimizer(net.parameters(), Adam(0.01)), label)}
    both_ways = torch.from_numpy(np.concatenate([graph.edges, graph.edges[:, ::-1]]).T.copy()).long()
    ones = torch.ones(both_ways.shape[1])
    csr = torch.sparse_coo_tensor(both_ways, ones, (n, n)).coalesce().to_sparse_csr()
    for form, edges in (("default", both_ways), ("csr", csr)):
        peer = Peer()

        def theirs(peer=peer, edges=edges):
            return peer(x, edges)

        check(net, ours, peer, theirs)
        made[FORMS[form]] = epoch(theirs, torch.optim.Adam(peer.parameters(), 0.01), label)
    return made


def measure(tiny):
    torch.set_num_threads(1)
    times = {name: {} for name in ("stepsize", *FORMS.values())}
    for n, rounds in ((1000, 2), (2000, 2)) if tiny else ((1000, 50), (10_000, 15), (100_000, 7)):
        for name, seconds in interleaved(jobs(n), rounds).items():
            times[name][n] = seconds
    for n, words in zip(list(times["stepsize"])[-2:], (10_000, 100_000), strict=True):
        for form, peer in FORMS.items():
            last = (
                {"curve": curve("nodes", "an epoch of a graph convolution", times)}
                if (words, form) == (100_000, "csr")
                else {}
            )
            yield f"{words}, {form}", ratio(times[peer][n], times["stepsize"][n], **last)


if __name__ == "__main__":
    main(measure)
