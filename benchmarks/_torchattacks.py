"""A peer in a process of its own: reads one JSON request a line, answers which images stand AutoAttack. Needs torchattacks.

In float32: its FAB attack makes float32 of whatever it is given.
"""

import json
import sys

import torch
import torchattacks

torch.set_num_threads(1)


for line in sys.stdin:
    request = json.loads(line)
    layers = []
    for W, b in request["layers"]:
        W, b = torch.tensor(W), torch.tensor(b)
        linear = torch.nn.Linear(*W.shape)
        linear.weight.data, linear.bias.data = W.T.contiguous(), b
        layers += [linear, torch.nn.ReLU()]
    model = torch.nn.Sequential(torch.nn.Flatten(), *layers[:-1]).eval()
    u, y = torch.tensor(request["u"]).reshape(-1, 1, 8, 8), torch.tensor(request["y"])
    attack = torchattacks.AutoAttack(model, norm=request["norm"], eps=request["eps"], seed=0, n_classes=10)
    attacked = attack(u, y)
    away = (attacked - u).flatten(1)
    length = away.abs().amax(1) if request["norm"] == "Linf" else away.norm(dim=1)
    assert float(length.max()) <= request["eps"] * (1 + 1e-5), "the peer left the ball"
    print(json.dumps((model(attacked).argmax(1) == y).tolist()), flush=True)
