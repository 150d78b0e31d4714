"""Federated averaging whose clients correct their drift.  Karimireddy et al. (2020), SCAFFOLD."""

import numpy as np

from companion.errors import FederationError
from companion.experiments.inputs import whole
from stepsize.rules import SGD

from .aggregation import Agnostic, FedAvg, QFair
from .clients import answer


def scaffold(clients, rule: FedAvg, rounds: int, sampled=None) -> np.ndarray:
    """y_k <- y_k - lr_k (grad F_k(y_k) - c_k + c), `rule.steps` times;  theta <- theta + sum_k w_k (y_k - theta).  Karimireddy et al. (2020), algorithm 1.

    c_k <- c_k - c + (theta - y_k) / (steps lr_k), their option II, and c = sum_k w_k c_k. The paper has w_k = 1 / K (`Equal`);
    here rates and weights are the rule's, weights that do not change from round to round; the server's rate is 1. Returns theta
    after the last round, from 0, (..., d). sampled (rounds, ..., m) are the clients that answer; all, where it is None.
    """
    whole(rounds, "rounds", 1, error=FederationError)
    if isinstance(rule, QFair | Agnostic) or not isinstance(rule.server, SGD):
        raise FederationError(
            f"{type(rule).__name__} has weights or a server that remember; give one with fixed weights"
        )
    fit = clients.fit()
    lr = np.asarray(rule.local(fit).lr)
    shape = np.broadcast_shapes(fit.theta.shape, lr.shape)
    theta = np.zeros((*shape[:-2], 1, shape[-1]))
    w = rule.weigh((), answer(clients, fit, np.broadcast_to(theta, shape), rule))[1]
    w, own, common = np.broadcast_to(w, (*shape[:-1], 1)), np.zeros(shape), np.zeros(theta.shape)
    for t in range(rounds):
        present = np.ones(w.shape, bool)
        if sampled is not None:
            present &= (np.arange(shape[-2])[:, None] == sampled[t][..., None, :]).any(-1, keepdims=True)
        y, heard = np.broadcast_to(theta, shape), np.where(present, w, 0.0)
        with np.errstate(over="ignore", invalid="ignore"):
            for _ in range(rule.steps):
                y = y - lr * (clients.gradient(y) - own + common)
            change = np.where(present, (theta - y) / (rule.steps * lr) - common, 0.0)
            theta = theta + (heard * (y - theta)).sum(-2, keepdims=True) / heard.sum(-2, keepdims=True)
            own, common = own + change, common + (w * change).sum(-2, keepdims=True)
    return theta[..., 0, :]
