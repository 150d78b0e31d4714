"""Run by test_distributed.py as one of two processes: data-parallel training over gloo on loopback, with a checkpoint half way."""

import copy
import sys

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import Shard, distribute_tensor
from torch.nn.parallel import DistributedDataParallel

from stepsize import Adam
from stepsize.errors import ShapeError
from stepsize.optim import Optimizer

STEPS, BATCH = 20, 16


def model():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 16), nn.Tanh(), nn.Linear(16, 1))


def data():
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(STEPS, BATCH, 6, generator=generator)
    return x, x.sum(-1, keepdim=True).sin()


def train(net, optimizer, steps, part=slice(None)):
    x, y = data()
    for t in steps:
        optimizer.zero_grad()
        ((net(x[t, part]) - y[t, part]) ** 2).mean().backward()
        optimizer.step()


def sharded(rank, folder):
    """Both processes hold half of every parameter, gradient and state, and see the same batch."""
    torch.manual_seed(0)
    plain = nn.Sequential(nn.Linear(6, 16), nn.Tanh(), nn.Linear(16, 2))
    net = fully_shard(copy.deepcopy(plain), mesh=init_device_mesh("cpu", (2,)))
    uneven = nn.Parameter(distribute_tensor(torch.ones(3, 2), net[0].weight.device_mesh, [Shard(0)]))
    uneven.grad = uneven.detach().clone()
    optimizers = [Optimizer(part.parameters(), Adam(0.01)) for part in (plain, net)]
    for part, optimizer in zip((plain, net), optimizers, strict=True):
        train(part, optimizer, range(STEPS))
    try:
        Optimizer([*net.parameters(), uneven], Adam(0.01)).step()
        refused = "no"
    except ShapeError as error:
        refused = str(error)
    ends = [torch.cat([p.detach().flatten() for p in plain.parameters()])]
    ends.append(torch.cat([p.full_tensor().detach().flatten() for p in net.parameters()]))
    local = [memory["m"].to_local().numel() for memory in optimizers[1].state.values()]
    torch.save({"ends": ends, "local": local, "refused": refused}, f"{folder}/shards-{rank}.pt")


def main(rank, port, folder, what):
    store = dist.TCPStore("127.0.0.1", port, 2, is_master=rank == 0)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=2)
    if what == "shards":
        sharded(rank, folder)
    else:
        replicated(rank, folder, what == "resume")
    dist.destroy_process_group()


def replicated(rank, folder, resume):
    plain = model()
    net = DistributedDataParallel(plain)
    optimizer, half = Optimizer(plain.parameters(), Adam(0.01)), slice(rank * BATCH // 2, (rank + 1) * BATCH // 2)
    middle = STEPS // 2
    if resume:
        saved = torch.load(f"{folder}/half.pt", weights_only=True)
        plain.load_state_dict(saved["model"])
        optimizer.load_state_dict(saved["optimizer"])
    else:
        train(net, optimizer, range(middle), half)
        if rank == 0:
            torch.save({"model": plain.state_dict(), "optimizer": optimizer.state_dict()}, f"{folder}/half.pt")
    train(net, optimizer, range(middle, STEPS), half)
    torch.save(plain.state_dict(), f"{folder}/{'resumed' if resume else 'whole'}-{rank}.pt")


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4])
