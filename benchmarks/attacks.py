"""The book's judge against AutoAttack of torchattacks on the same defenders: robust accuracy, in per cent of the images.

.venv-bench/bin/python benchmarks/attacks.py            # `make bench` makes that environment
.venv-bench/bin/python benchmarks/attacks.py "L2 | Adam"

Defenders are trained again at the recorded rates. Both sides see the same images and the same weights, the peer in float32: its
FAB attack makes float32 of whatever it is given. The bar is a difference of 3 points.
"""

import sys
import time

import numpy as np
import torch
import torchattacks

from companion.experiments.adversarial_training.attacks import judge
from companion.experiments.adversarial_training.classifiers import Classifier, digits
from companion.experiments.adversarial_training.defenses import DEFENDERS, SEED, opposed
from companion.experiments.adversarial_training.robustness import BALLS

METHODS = ("nobody", "SGD", "sign", "normalised SGD", "Adam", "Auto-PGD")
CELLS = [f"{kind} | {name}" for kind in BALLS for name in METHODS]
SEEDS, IMAGES = (0, 1), 200


def stands(kind, x, images):
    """Which images AutoAttack does not fool, (images,) bools."""
    layers = []
    for W, b in Classifier().layers(x[None]):
        linear = torch.nn.Linear(*W[0].shape)
        linear.weight.data, linear.bias.data = W[0].T.float().contiguous(), b[0, 0].float()
        layers += [linear, torch.nn.ReLU()]
    model = torch.nn.Sequential(torch.nn.Flatten(), *layers[:-1]).eval()
    u, y, radius = images.u.float().reshape(-1, 1, 8, 8), images.y, BALLS[kind].radius
    norm = {"L∞": "Linf", "L2": "L2"}[kind]
    attacked = torchattacks.AutoAttack(model, norm=norm, eps=radius, seed=0, n_classes=10)(u, y)
    away = (attacked - u).flatten(1)
    length = away.abs().amax(1) if kind == "L∞" else away.norm(dim=1)
    if length.max() > radius * (1 + 1e-5):
        raise RuntimeError(f"AutoAttack left the ball: {length.max():.4g} > {radius}")
    return (model(attacked).argmax(1) == y).numpy()


def main(cells):
    torch.set_num_threads(1)
    images, recorded = digits(SEED)[2][:IMAGES], DEFENDERS.read()
    print(f"robust accuracy, % of {IMAGES} test images x {len(SEEDS)} defenders per cell\n")
    for cell in cells:
        kind = cell.split(" | ")[0]
        x = opposed(cell, recorded[cell]["lr"], recorded[cell]["attacker_lr"], SEEDS)
        start = time.process_time()
        ours = judge(Classifier(), x, images, BALLS[kind], SEED).numpy()
        middle = time.process_time()
        theirs = np.stack([stands(kind, one, images) for one in x])
        end = time.process_time()
        gap = 100 * (ours.mean() - theirs.mean())
        print(f"{cell:22s} judge {100 * ours.mean():5.1f}  AutoAttack {100 * theirs.mean():5.1f}  difference {gap:+.2f}"
              f"  only ours fooled {np.sum(~ours & theirs)}, only theirs {np.sum(ours & ~theirs)}"
              f"  seconds {middle - start:.1f}, {end - middle:.1f}", flush=True)  # fmt: skip


if __name__ == "__main__":
    main(sys.argv[1:] or CELLS)
