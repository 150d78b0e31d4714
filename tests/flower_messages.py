"""Run by test_flower.py inside the federation's environment: hand-made messages to a Strategy, results as JSON on the last line."""

import json
import logging

import numpy as np
from flwr.app import Array, ArrayRecord, Error, Message, MessageType, MetricRecord, RecordDict
from flwr.supercore.task_identity import TaskIdentity

from companion.errors import FederationError
from companion.experiments.federated_learning.aggregation import InverseVariance, Krum, TrimmedMean
from companion.experiments.federated_learning.clients import answer
from companion.experiments.federated_learning.defence import federate
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
            replies.append(Message(content=change(pack(report(k, strategy.theta, strategy.rule), k, number)), **given))
    return strategy.aggregate_train(number, replies)


def fresh(rule=None, **kwargs):
    return FederatedStrategy(rule or InverseVariance(1.0, 5), CLIENTS[0].X.shape[-1], NAMES, **kwargs)


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


def replayed(content):
    return RecordDict({"arrays": content["arrays"], "metrics": MetricRecord({"partition": 1, "round": 1})})


def claimed(number, order):
    """Long Beach calls itself Cleveland, and is the first to answer: in round 1, or after one in which all said who they are."""
    strategy = fresh()
    for k in range(1, number):
        round_of(strategy, k)
    round_of(strategy, number, {3: lambda content: other(content, number)}, order)
    return {"rejected": strategy.rejected, "who": strategy.took_part[-1]}


def newcomer():
    """A node that nobody knew answers for Cleveland; then Cleveland itself is offline and the node takes its place."""
    strategy, nodes = fresh(), list(NODES)
    round_of(strategy, 1)
    NODES[3] = 99
    round_of(strategy, 2, {3: lambda content: other(content, 2)})
    NODES[0] = 10
    round_of(strategy, 3, {0: None, 3: lambda content: other(content, 3)})
    NODES[:] = nodes
    return {"rejected": strategy.rejected, "who": strategy.took_part}


def twice():
    strategy = fresh()
    round_of(strategy, 1, {2: changed(theta=np.full(d, 1e30))}, order=(3, 1, 0, 0, 2))
    return {"rejected": strategy.rejected, "who": strategy.took_part[-1]}


def trusted(rule):
    """hostile=0: the rule alone, as `federate` runs it."""
    strategy = fresh(rule, hostile=0)
    for number in (1, 2):
        round_of(strategy, number)
    alone = federate(CLIENTS, rule, np.ones((2, 4)), hostile=0).theta
    return float(np.abs(strategy.path - alone).max())


def attacked(**lies):
    """Two rounds in which Long Beach sends `lies`; how far from the simulation of the same attack, and what was refused."""
    strategy = fresh()
    for number in (1, 2):
        round_of(strategy, number, {3: changed(**lies)})
    filled = {key: np.asarray(value, float) for key, value in lies.items()}
    alone = federation_alone(
        np.ones((2, 4)), tamper=lambda number, k, report: report._replace(**filled) if k == 3 else report
    )
    return {"gap": float(np.abs(strategy.path - alone).max()), "largest": float(np.abs(strategy.path).max())}


def presumed():
    try:
        fresh(hostile=2, least=4)
    except FederationError as error:
        return str(error)


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


def other(content, number=2):
    return RecordDict({"arrays": content["arrays"], "metrics": MetricRecord({"partition": 0, "round": number})})


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
            "replay": said({1: replayed}),
            "usurper": claimed(2, (3, 0, 1, 2)),
            "claimed": claimed(1, (3, 0, 1, 2)),
            "newcomer": newcomer(),
            "twice": twice(),
            "trusted": [trusted(rule) for rule in (InverseVariance(1.0, 5), TrimmedMean(1.0, 5), Krum(1.0, 5))],
            "presumed": presumed(),
            "zero": attacked(noise=[0.0], spread=[0.0]),
            "huge": attacked(theta=np.full(d, 1e30), own=np.full(d, -1e30), n=[1e30], noise=[0.0], spread=[0.0]),
            "overflow": overflowing(),
            "lost": lost(),
            "alone": alone(),
            "train": str(MessageType.TRAIN),
        }
    )
)
