"""Run by test_flower.py inside the federation's environment: hand-made messages to a Strategy, results as JSON on the last line."""

import json
import logging

import numpy as np
from flwr.app import Array, ArrayRecord, Error, Message, MessageType, MetricRecord, RecordDict
from flwr.supercore.task_identity import TaskIdentity

from companion.errors import FederationError
from companion.experiments.federated_learning.aggregation import InverseVariance
from companion.experiments.federated_learning.clients import answer
from companion.experiments.federated_learning.flower import FederatedStrategy, pack
from companion.experiments.federated_learning.patients import NAMES, federation_alone, one_hospital

logging.disable(logging.CRITICAL)
# what a process of Flower knows of itself; here one process plays them all
TaskIdentity.run_id, TaskIdentity.task_id, TaskIdentity.node_id = 1, 1, 1
NODES = [11, 12, 13, 14]
CLIENTS = [one_hospital(k) for k in range(4)]
FITS = [c.fit() for c in CLIENTS]


class Grid:
    def get_node_ids(self):
        return NODES


def report(k, theta, rule):
    return answer(CLIENTS[k], FITS[k], theta, rule)


def round_of(strategy, number, changes=None, order=(3, 1, 0, 2)):
    """One round: `changes` maps a client to a function of its content, to None (no answer) or to an Error."""
    asked = strategy.configure_train(number, ArrayRecord({"theta": Array(strategy.theta)}), {}, Grid())
    replies = []
    for k in order:
        change = (changes or {}).get(k, lambda content: content)
        if change is None:
            continue
        TaskIdentity.node_id, given = NODES[k], {"reply_to": asked[k]}
        if isinstance(change, Error):
            replies.append(Message(change, **given))
        else:
            replies.append(Message(content=change(pack(report(k, strategy.theta, strategy.rule), k)), **given))
    return strategy.aggregate_train(number, replies)


def fresh(**kwargs):
    return FederatedStrategy(InverseVariance(1.0, 5), CLIENTS[0].X.shape[-1], NAMES, **kwargs)


def changed(**arrays):
    def change(content):
        whole = {
            key: Array(np.asarray(arrays[key], float)) if key in arrays else value
            for key, value in content["arrays"].items()
        }
        return RecordDict(
            {"arrays": ArrayRecord({k: v for k, v in whole.items() if v is not None}), "metrics": content["metrics"]}
        )

    return change


def said(change, **kwargs):
    strategy = fresh(**kwargs)
    round_of(strategy, 1)
    round_of(strategy, 2, change)
    who = np.ones((2, 4), bool)
    who[1] = [k in strategy.took_part[1] for k in range(4)]
    return {
        "rejected": strategy.rejected,
        "gap": float(np.abs(strategy.path - federation_alone(who)).max()),
        "who": strategy.took_part[1],
    }


def lost():
    strategy = fresh(least=3)
    try:
        round_of(strategy, 1, {0: None, 1: None})
    except FederationError as error:
        return str(error)


def alone():
    class Empty(Grid):
        def get_node_ids(self):
            return NODES[:1]

    try:
        fresh(patience=0.1).configure_train(1, ArrayRecord({"theta": Array(np.zeros(1))}), {}, Empty())
    except FederationError as error:
        return str(error)


d = CLIENTS[0].X.shape[-1]


def overflowing():
    """Finite updates whose aggregate is not: from one end of the floats to the other."""
    strategy = fresh()
    for number, end in ((1, -1.7e308), (2, 1.7e308)):
        round_of(strategy, number, {k: changed(theta=np.full(d, end), loss=[1.0]) for k in range(4)})
    return {"rejected": strategy.rejected, "kept": bool((strategy.path[2] == strategy.path[1]).all())}


def nameless(content):
    return RecordDict({"arrays": content["arrays"], "metrics": MetricRecord({"round": 1})})


def other(content):
    return RecordDict({"arrays": content["arrays"], "metrics": MetricRecord({"partition": 0})})


print(
    json.dumps(
        {
            "sound": said({}),
            "nan": said({2: changed(theta=np.full(d, np.nan))}),
            "short": said({2: changed(theta=np.ones(3))}),
            "negative": said({1: changed(noise=[-1.0])}),
            "empty": said({1: lambda content: RecordDict({"metrics": content["metrics"]})}),
            "nameless": said({3: nameless}),
            "impostor": said({3: other}),
            "silent": said({3: None}),
            "error": said({3: Error(code=3, reason="the node is gone")}),
            "zero": said({0: changed(noise=[0.0])}),
            "overflow": overflowing(),
            "lost": lost(),
            "alone": alone(),
            "train": str(MessageType.TRAIN),
        }
    )
)
