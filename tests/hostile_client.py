"""Takes the place of client.py in the app of a federation: Long Beach lies in the first and fourth round, sends NaN in the second
and an answer to an earlier round in the third."""

import numpy as np
from flwr.app import Message
from flwr.clientapp import ClientApp
from hospitals import load, rule

from companion.experiments.federated_learning.clients import answer
from companion.experiments.federated_learning.flower import pack

app = ClientApp()


@app.train()
def train(message, context):
    partition, config = int(context.node_config["partition-id"]), message.content["config"]
    client, theta, number = load(partition), message.content["arrays"]["theta"].numpy(), config["server-round"]
    report = answer(client, client.fit(), theta, rule(config))
    if partition == 3:
        value = {1: 1e30, 2: np.nan, 4: -1e30}.get(number)
        if number == 3:
            number = 1
        else:
            everywhere, nothing = np.full(theta.shape, value), np.zeros(1)
            report = report._replace(
                theta=everywhere,
                own=everywhere,
                n=np.array([1e30]),
                loss=np.array([1e30]),
                noise=nothing,
                spread=nothing,
            )
    return Message(content=pack(report, partition, number), reply_to=message)
