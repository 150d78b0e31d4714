"""A decoder of two layers that predicts the next character of Shakespeare's plays, and its training under a watch."""

from functools import cache
from typing import NamedTuple

import numpy as np
import torch
from torch import nn
from torch.nn.functional import cross_entropy, gelu, scaled_dot_product_attention

from companion.experiments.datasets import load
from stepsize import Adam
from stepsize.optim import Optimizer
from stepsize.watch import Watch, watch

ALPHABET = " 'abcdefghijklmnopqrstuvwxyz"
CONTEXT, BATCH, HELD_OUT = 64, 16, 4  # characters, sequences, plays
SIZE = 0.02  # standard deviation of the weights at the start, unless another is asked for


class Layer(nn.Module):
    """x + attention(norm(x)), then x + MLP(norm(x)); shape (batch, CONTEXT, width). Matrices have no bias."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.norm_attention, self.norm_mlp = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query, self.key, self.value, self.output = (nn.Linear(width, width, bias=False) for _ in range(4))
        self.up, self.down = nn.Linear(width, 4 * width, bias=False), nn.Linear(4 * width, width, bias=False)

    def forward(self, x):
        h = self.norm_attention(x)
        q, k, v = (f(h).unflatten(-1, (self.heads, -1)).transpose(1, 2) for f in (self.query, self.key, self.value))
        attended = scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.output(attended.transpose(1, 2).flatten(2))
        return x + self.down(gelu(self.up(self.norm_mlp(x))))


class Transformer(nn.Module):
    """Vaswani et al. (2017), the decoder alone; logits (batch, CONTEXT, characters) of the next character.

    Layer norm stands before each block, not after it; positions are learnt; the head is not tied to the embedding.
    """

    def __init__(self, width: int = 64, heads: int = 4, layers: int = 2):
        super().__init__()
        self.characters, self.positions = nn.Embedding(len(ALPHABET), width), nn.Embedding(CONTEXT, width)
        self.layers = nn.Sequential(*(Layer(width, heads) for _ in range(layers)))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, len(ALPHABET), bias=False)

    def forward(self, characters):
        x = self.characters(characters) + self.positions.weight
        return self.head(self.norm(self.layers(x)))


def transformer(seed: int, size: float = SIZE) -> Transformer:
    """One whose matrices are drawn from N(0, size²); layer norms begin at gain 1 and bias 0."""
    rng = np.random.default_rng([seed, 2])
    with torch.device("meta"):  # nothing is drawn from the global generator
        model = Transformer()
    model.to_empty(device="cpu")
    for name, p in model.named_parameters():
        value = rng.normal(0, size, p.shape) if p.ndim == 2 else np.full(p.shape, float(name.endswith("weight")))
        p.data.copy_(torch.from_numpy(value))
    return model


@cache
def characters(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Everything spoken in 34 plays, and in `HELD_OUT` others, as places in ALPHABET, (n,); words are set apart by blanks."""
    data = load("shakespeare")
    place = np.zeros(128, np.uint8)
    place[np.frombuffer(ALPHABET.encode(), np.uint8)] = np.arange(len(ALPHABET))
    held = np.random.default_rng([seed, 1]).permutation(len(data["title"]))[:HELD_OUT]
    out = np.isin(data["play"], held)
    texts = (" ".join(data["vocabulary"][data["word"][part]]).replace("’", "'") for part in (~out, out))
    return tuple(place[np.frombuffer(text.encode(), np.uint8)] for text in texts)


def windows(text: np.ndarray, n: int, rng) -> tuple[torch.Tensor, torch.Tensor]:
    """n random sequences (n, CONTEXT) of the text and the characters that follow each of theirs."""
    starts = rng.integers(len(text) - CONTEXT, size=(n, 1))
    drawn = torch.from_numpy(text[starts + np.arange(CONTEXT + 1)].astype(np.int64))
    return drawn[:, :-1], drawn[:, 1:]


def pair_loss(seed: int) -> float:
    """Nats per character of the held-out plays for one who knows how often each pair of characters stands in the others."""
    text, unread = characters(seed)
    counts = np.ones((len(ALPHABET), len(ALPHABET)))
    np.add.at(counts, (text[:-1], text[1:]), 1)
    return -np.log((counts / counts.sum(1, keepdims=True))[unread[:-1], unread[1:]]).mean()


def held_out_loss(model: Transformer, seed: int) -> float:
    """The model's nats per character on 500 sequences of the held-out plays."""
    with torch.no_grad():
        return _loss(model, *windows(characters(seed)[1], 500, np.random.default_rng([seed, 4]))).item()


def _loss(model, inputs, targets):
    return cross_entropy(model(inputs).flatten(0, 1), targets.flatten())


class Training(NamedTuple):
    """`seen` is what the watch saw, `losses` (steps,) are in nats per character, `model` is the trained one."""

    seen: Watch
    losses: np.ndarray
    model: Transformer


def train(seed: int, steps: int, every: int, model: Transformer | None = None, lr: float = 1e-3) -> Training:
    """Adam at a constant learning rate, on `BATCH` sequences a step, watched at every `every`-th.

    The model is that of this seed unless another is given; it is changed in place.
    """
    torch.set_num_threads(1)
    model, text, rng = model or transformer(seed), characters(seed)[0], np.random.default_rng([seed, 3])
    optimizer = Optimizer(model.named_parameters(), Adam(lr))
    seen, losses = watch(optimizer, every), []
    for _ in range(steps):
        optimizer.zero_grad()
        loss = _loss(model, *windows(text, BATCH, rng))
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return Training(seen, np.array(losses), model)
