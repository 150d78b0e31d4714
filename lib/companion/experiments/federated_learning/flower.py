"""The same rules between processes: a Flower ClientApp and Strategy made of `local_update` and `aggregate`, nothing added.

    app = client_app(load)                                    # load(partition) -> one client, with its own data
    strategy = FederatedStrategy(InverseVariance(0.1), d=12)  # in a ServerApp: strategy.start(grid, strategy.start_from(), rounds)

Needs flwr >= 1.41: pip install 'stepsize[federated]'. A client's report is an ArrayRecord of six arrays; its rule, steps
and rate come with every message, so that the server's configuration is the only one.
"""

import logging
import time
from collections.abc import Callable

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MessageType, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp.strategy import Strategy

from companion.errors import FederationError
from stepsize.errors import short

from .clients import Report, answer, check
from .defence import next_model

log = logging.getLogger("stepsize")


def client_app(load: Callable, make_rule: Callable) -> ClientApp:
    """A ClientApp whose data are load(partition) and whose rule is make_rule(config); partition is the node's `partition-id`."""
    app = ClientApp()

    @app.train()
    def train(message, context):
        partition = int(context.node_config["partition-id"])
        client = load(partition)
        theta = message.content["arrays"]["theta"].numpy()
        config = message.content["config"]
        report = answer(client, client.fit(), theta, make_rule(config))
        return Message(content=pack(report, partition, config["server-round"]), reply_to=message)

    return app


def pack(report: Report, partition: int, server_round: int) -> RecordDict:
    """A report as Flower sends it, with the round that it answers."""
    arrays = {name: Array(np.asarray(value, float)) for name, value in report._asdict().items()}
    return RecordDict(
        {"arrays": ArrayRecord(arrays), "metrics": MetricRecord({"partition": partition, "round": server_round})}
    )


def unpack(content: RecordDict, d: int, names, server_round: int) -> tuple[int, Report]:
    """(partition, checked report); FederationError that names the client where anything is missing, misshapen, replayed or not finite."""
    try:
        partition = int(content["metrics"]["partition"])
    except (KeyError, TypeError, ValueError):
        raise FederationError("a client sent no partition; rejected, it must say who it is") from None
    name = str(names[partition]) if 0 <= partition < len(names) else str(partition)
    if not 0 <= partition < len(names):
        raise FederationError(f"client {name} is none of the {len(names)} that were announced; rejected")
    if (answered := content["metrics"].get("round")) != server_round:
        raise FederationError(
            f"client {name} sent its answer to round {answered} in round {server_round}; rejected, it is a replay"
        )
    try:
        report = Report(*(content["arrays"][key].numpy() for key in Report._fields))
    except Exception as error:  # whatever a foreign client managed to send
        raise FederationError(
            f"client {name} sent a malformed update ({short(error)}); rejected, send {', '.join(Report._fields)}"
        ) from None
    return partition, check(report, d, name)


class FederatedStrategy(Strategy):
    """A rule of `aggregation` as a Flower strategy: all online clients in every round, bounded as if `hostile` of them lied (`defence.bounded`).

    names are the clients' names by partition. The first round waits for all of them, at most `patience` seconds; later
    rounds go on with whoever answers, as long as `least` usable reports arrive. A model that is not finite never leaves
    the server: the one before it is kept. `path` keeps theta after every round, `rejected` what was refused and why.
    hostile=0 trusts every client, and the rule acts as in `simulate`. A partition belongs to the node that first
    answered for it, while that node is online; who a node is, only Flower's node authentication can tell.
    """

    def __init__(
        self, rule, d: int, names, config: dict | None = None, hostile: int = 1, least: int = 3, patience: float = 120.0
    ):
        if least < 2 * hostile + 1:
            raise FederationError(f"least={least} reports bound no hostile={hostile}; ask for {2 * hostile + 1}")
        self.rule, self.d, self.names, self.config = rule, d, list(names), dict(config or {})
        self.hostile = hostile
        self.least, self.patience = least, patience
        self.theta, self.state = np.zeros(d), rule.init(np.zeros(d))
        self.path, self.took_part, self.rejected = [self.theta], [], []
        self._asked, self._known = [], {}  # nodes of this round; node -> partition, as it said first

    def summary(self) -> None:
        log.info("%s with %d clients", type(self.rule).__name__, len(self.names))

    def start_from(self) -> ArrayRecord:
        """The initial arrays."""
        return ArrayRecord({"theta": Array(self.theta)})

    def configure_train(self, server_round, arrays, config, grid):
        nodes, since = sorted(grid.get_node_ids()), time.monotonic()
        while server_round == 1 and len(nodes) < len(self.names):
            if time.monotonic() - since > self.patience:
                raise FederationError(
                    f"{len(nodes)} of {len(self.names)} clients came within {self.patience:g} s; start the others"
                )
            time.sleep(0.5)
            nodes = sorted(grid.get_node_ids())
        self._asked = nodes
        config = ConfigRecord(self.config | {"server-round": server_round})
        content = RecordDict({"arrays": arrays, "config": config})
        return [Message(content=content, message_type=MessageType.TRAIN, dst_node_id=node) for node in nodes]

    def _accept(self, reply, server_round: int, reports: dict[int, Report]) -> None:
        node = reply.metadata.src_node_id
        partition, report = unpack(reply.content, self.d, self.names, server_round)
        name = self.names[partition]
        if self._known.get(node, partition) != partition:
            raise FederationError(f"client {self.names[self._known[node]]} now calls itself {name}; rejected")
        if any(self._known.get(other) == partition for other in self._asked if other != node):
            raise FederationError(f"node {node} calls itself {name}, which is another node; rejected")
        if partition in reports:
            raise FederationError(f"client {name} answered twice in a round; the second update is rejected")
        self._known[node] = partition
        reports[partition] = report

    def _refuse(self, server_round: int, why: str) -> None:
        self.rejected.append((server_round, why))
        log.error("round %d: %s", server_round, why)

    def aggregate_train(self, server_round, replies):
        reports, answered, reason = {}, set(), "no answer in time"
        for reply in replies:
            if reply.has_error():
                reason = short(reply.error.reason)
                continue
            answered.add(reply.metadata.src_node_id)
            try:
                self._accept(reply, server_round, reports)
            except FederationError as error:
                self._refuse(server_round, str(error))
        for node in self._asked:
            if node not in answered:
                who = self.names[self._known[node]] if node in self._known else f"at node {node}"
                self._refuse(server_round, f"client {who} did not answer ({reason}); the round goes on without it")
        if len(reports) < self.least:
            raise FederationError(
                f"round {server_round}: {len(reports)} usable reports, at least {self.least} needed; see the errors above"
            )
        largest = 0.0
        try:
            self.state, self.theta, w = next_model(self.rule, self.state, self.theta, reports, self.hostile)
            largest = float(w.max())
        except FederationError as error:
            self._refuse(server_round, f"{error}; the model of the round before is kept")
        self.path.append(self.theta)
        self.took_part.append(sorted(reports))
        return ArrayRecord({"theta": Array(self.theta)}), MetricRecord(
            {"clients": len(reports), "largest-share": largest}
        )

    def configure_evaluate(self, server_round, arrays, config, grid):
        return []

    def aggregate_evaluate(self, server_round, replies):
        return None
