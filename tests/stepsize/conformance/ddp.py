"""Run by test_training.py as one of two processes: torch's Adam and ours under DistributedDataParallel, over gloo on loopback."""

import sys

import torch
import torch.distributed as dist
from torch.distributed.optim import ZeroRedundancyOptimizer
from torch.nn.parallel import DistributedDataParallel

from references import TORCH
from stepsize.optim import Optimizer
from twins import network, normal, values

RULE, THEIRS = TORCH["Adam"]
KINDS = {"theirs": (THEIRS.func, THEIRS.keywords), "ours": (Optimizer, {"rule": RULE})}


def trained(kind, settings, rank, shared, unused):
    model, _ = network()
    if unused:
        model.register_parameter("spare", torch.nn.Parameter(normal(3)))
    whole = DistributedDataParallel(model, find_unused_parameters=unused)
    parameters = list(model.parameters())
    optimizer = (
        ZeroRedundancyOptimizer(parameters, optimizer_class=kind, **settings)
        if shared
        else kind(parameters, **settings)
    )
    for t in range(6):
        # the gradients of two batches add up, and are exchanged with the second
        optimizer.zero_grad()
        with whole.no_sync():
            whole(normal(4, 1, 6, seed=4 * t + rank)).square().mean().backward()
        whole(normal(4, 1, 6, seed=4 * t + 2 + rank)).square().mean().backward()
        optimizer.step()
    return values(model)


def main(rank, folder):
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    ends = {
        f"{name}, {what}": trained(*kind, rank, shared, unused)
        for name, kind in KINDS.items()
        for what, shared, unused in (("plain", False, False), ("shared state", True, False), ("unused", False, True))
    }
    torch.save(ends, f"{folder}/{rank}.pt")
    dist.destroy_process_group()


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(int(sys.argv[1]), sys.argv[2])
