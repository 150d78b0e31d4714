"""The book's judge against AutoAttack of torchattacks on the same defenders; ensembles against loops of single runs.

python benchmarks/attacks.py         # STEPSIZE_PEER=/path/to/python where torchattacks has an environment of its own

The peer's Python needs torch and torchattacks alone: python -m pip install --no-deps torchattacks==3.5.1, beside the torch of
requirements.txt, so that torch stays as pinned. Defenders are trained again at the rates of lib/companion/experiments/adversarial_training/defenders.json. Both sides see the same
images and the same weights; robust accuracy is a share of images, and the bar is 3 points.
"""

import json
import os
import statistics
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import torch

from companion.experiments.adversarial_training.attacks import Target, judge, walk_in_ball
from companion.experiments.adversarial_training.bilinear_game import Bilinear
from companion.experiments.adversarial_training.classifiers import Classifier, digits, train
from companion.experiments.adversarial_training.defenses import DEFENDERS, SEED, opposed
from companion.experiments.adversarial_training.robustness import BALLS, standard, trainer
from stepsize import Adam, descend
from stepsize.rules import SignDescent

CELLS = [
    f"{kind} | {name}" for kind in BALLS for name in ("nobody", "SGD", "sign", "normalised SGD", "Adam", "Auto-PGD")
]
SEEDS, IMAGES, ROUNDS, RUNS = (0, 1), 200, 7, 512
PASSES = 5  # of an adversarial training: ten steps, so that its start is not most of it


class Peer:
    def __init__(self):
        python = os.environ.get("STEPSIZE_PEER", sys.executable)
        worker = Path(__file__).with_name("_torchattacks.py")
        self.process = subprocess.Popen([python, worker], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def stands(self, kind, x, images):
        layers = [(W[0].tolist(), b[0, 0].tolist()) for W, b in Classifier().layers(x[None])]
        norm = {"L∞": "Linf", "L2": "L2"}[kind]
        request = {"layers": layers, "norm": norm, "eps": BALLS[kind].radius}
        print(
            json.dumps(request | {"u": images.u.tolist(), "y": images.y.tolist()}), file=self.process.stdin, flush=True
        )
        if not (answer := self.process.stdout.readline()):
            sys.exit("error: the peer gave no answer; install torchattacks or name its Python in STEPSIZE_PEER")
        return np.array(json.loads(answer))


def compare(cells):
    peer, images, recorded = Peer(), digits(SEED)[2][:IMAGES], DEFENDERS.read()
    print(f"robust accuracy, % of {IMAGES} test images x {len(SEEDS)} defenders per cell\n")
    for cell in cells:
        kind = cell.split(" | ")[0]
        x = opposed(cell, recorded[cell]["lr"], recorded[cell]["attacker_lr"], SEEDS)
        start = time.perf_counter()
        ours = judge(Classifier(), x, images, BALLS[kind], SEED).numpy()
        middle = time.perf_counter()
        theirs = np.stack([peer.stands(kind, one, images) for one in x])
        end = time.perf_counter()
        gap = 100 * (ours.mean() - theirs.mean())
        print(f"{cell:22s} judge {100 * ours.mean():5.1f}  AutoAttack {100 * theirs.mean():5.1f}  difference {gap:+.2f}"
              f"  only ours fooled {np.sum(~ours & theirs)}, only theirs {np.sum(ours & ~theirs)}"
              f"  seconds {middle - start:.1f}, {end - middle:.1f}", flush=True)  # fmt: skip


def against_loop(name, together, alone, sample, kind="the same program, one at a time"):
    """CPU time of all runs at once against the single runs of `sample`, scaled up; medians over rounds, with least and most."""
    together(), alone(0)  # what is imported or compiled at first is nobody's time
    ratios = []
    for _ in range(ROUNDS):
        start = time.process_time()
        both = together()
        middle = time.process_time()
        single = [alone(k) for k in sample]
        loop = (time.process_time() - middle) * RUNS / len(sample)
        ratios.append(loop / (middle - start))
    gap = max(float(np.abs(np.asarray(s) - np.asarray(both[k])).max()) for k, s in zip(sample, single, strict=True))
    print(
        f"{name:48s} {kind:34s} {statistics.median(ratios):6.1f} ({min(ratios):.1f}-{max(ratios):.1f})"
        f"  members differ by {gap:.1e}",
        flush=True,
    )


def as_usual(net, seed, lr, images, epochs, batch, steps, radius):
    """What one writes for one adversarial training: torch.nn, autograd, torch.optim.Adam; same start, batches and random starts.

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


def ensembles():
    print(f"\n{RUNS} runs at once against a loop of single runs, times as fast\n")
    rates, sample = np.geomspace(0.01, 1.0, RUNS)[:, None], range(0, RUNS, RUNS // 8)
    z0 = np.random.default_rng(0).normal(size=(RUNS, 2))
    against_loop(
        "plays of the game, Adam, 300 turns",
        lambda: descend(Adam(rates), Bilinear(), z0, 300).x[-1],
        lambda k: descend(Adam(rates[k]), Bilinear(), z0[k], 300).x[-1], sample,
    )  # fmt: skip
    x, images, _ = standard([0], 5, digits(SEED)[0]), digits(SEED)[2], None
    lrs = torch.tensor(np.geomspace(0.01, 0.3, RUNS))

    def fool(lr, seed):
        target = Target.of(Classifier(), x, images[:1])
        return walk_in_ball(Adam(lr), target, BALLS["L2"], 10, [np.random.default_rng(seed)])

    against_loop(
        "attacks on one image, Adam, 10 steps, a rate each",
        lambda: fool(lrs[:, None, None], 0).delta[0, :, 0].numpy(),
        lambda k: fool(float(lrs[k]), 0).delta[0, 0, 0].numpy(), sample,
    )  # fmt: skip
    small, few, radius = Classifier((64, 8, 10)), digits(SEED)[0][:32], BALLS["L∞"].radius
    attack = trainer(SignDescent(radius), BALLS["L∞"], 3, small)

    def harden(seeds, lr):
        return train(small, Adam(lr), seeds, few, PASSES, 16, attack).numpy()

    each = np.geomspace(0.003, 0.03, RUNS)
    usual = partial(as_usual, small, images=few, epochs=PASSES, batch=16, steps=3, radius=radius)
    for alone, kind in (
        (lambda k: usual(k, each[k]), "torch.nn, autograd, torch.optim"),
        (lambda k: harden([k], each[k])[0], "the same program, one at a time"),
    ):
        against_loop(
            "adversarial trainings, 8 units, batches of 16",
            lambda: harden(range(RUNS), torch.tensor(each)[:, None]), alone, sample, kind,
        )  # fmt: skip


def main():
    torch.set_num_threads(1)
    ensembles()
    compare(sys.argv[1:] or CELLS)


if __name__ == "__main__":
    main()
