"""Ensembles of small trainings, one program against a loop of single runs; members must equal the single runs.

python benchmarks/ensembles.py          # CPU seconds per member and step, interleaved; medians with least and most
"""

import statistics
import time

import torch

from companion.experiments.recurrent_networks.race import train
from companion.experiments.recurrent_networks.tasks import Adding
from stepsize import Adam

ROUNDS, SINGLES, STEPS = 5, 3, 50  # steps: what a stream draws at once
#: The book's networks, and smaller ones, where a single run is all overhead.
SIZES = {"16 units, batch 16": (Adding(), 64), "8 units, batch 8": (Adding(B=8, hidden=8), 512)}


def together(task, members):
    """Seconds per member and step, and the members: every seed in one program."""
    began = time.process_time()
    x = train(Adam(3e-3), task, 1.0, range(members), STEPS)
    return (time.process_time() - began) / (members * STEPS), x[0, :SINGLES]


def one_by_one(task):
    """The same program, one seed at a time."""
    began = time.process_time()
    x = [train(Adam(3e-3), task, 1.0, [seed], STEPS)[0, 0] for seed in range(SINGLES)]
    return (time.process_time() - began) / (SINGLES * STEPS), torch.stack(x)


def as_usual(task):
    """What one writes for one training: torch.nn.RNN, autograd, torch.optim.Adam; same start, same batches."""
    seconds, ends = 0.0, []
    for seed in range(SINGLES):
        W, U, b, V, c = (part[0] for part in task.net.parts(task.net.start(1.0, [seed])))
        cell = torch.nn.RNN(2, task.hidden, batch_first=True, dtype=torch.float64)
        head = torch.nn.Linear(task.hidden, 1, dtype=torch.float64)
        named = dict(zip("UWbnVc", (*cell.parameters(), *head.parameters()), strict=True))
        with torch.no_grad():
            for name, value in zip("UWbnVc", (U.mT, W.mT, b[0], 0 * b[0], V.mT, c[0]), strict=True):
                named[name].copy_(value)
        named["n"].requires_grad_(False)  # torch has two biases where one is enough
        optimizer = torch.optim.Adam([named[name] for name in "UWbVc"], lr=3e-3)
        stream, began = task.stream([seed]), time.process_time()
        for _, (inputs, targets) in zip(range(STEPS), stream, strict=False):
            optimizer.zero_grad()
            (head(cell(inputs[0].transpose(0, 1))[0][:, -1]) - targets[0]).square().mean().backward()
            optimizer.step()
        seconds += time.process_time() - began
        parts = named["W"].mT, named["U"].mT, named["b"], named["V"].mT, named["c"]
        ends.append(torch.cat([p.detach().flatten() for p in parts]))
    return seconds / (SINGLES * STEPS), torch.stack(ends)


def main():
    torch.set_num_threads(1)
    for size, (task, members) in SIZES.items():
        together(task, members), one_by_one(task), as_usual(task)
        rounds = [(together(task, members), one_by_one(task), as_usual(task)) for _ in range(ROUNDS)]
        ensemble = statistics.median(found[0][0] for found in rounds)
        print(f"{size}, {members} members: {ensemble * 1e6:.0f} us per member and step")
        for k, name in ((1, "the same program, one at a time"), (2, "torch.nn.RNN, autograd, torch.optim")):
            ratios = [found[k][0] / found[0][0] for found in rounds]
            gap = max((found[0][1] - found[k][1]).abs().max().item() for found in rounds)
            print(
                f"  {name:36s} {statistics.median(found[k][0] for found in rounds) * 1e6:6.0f} us; ratio "
                f"{statistics.median(ratios):.0f} ({min(ratios):.0f}-{max(ratios):.0f}), target 20; members differ by {gap:.0e}"
            )


if __name__ == "__main__":
    main()
