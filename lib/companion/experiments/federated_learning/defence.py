"""What a server aggregates when clients may lie: every report checked by itself (`clients.check`), then bounded by the others.

    ran = federate(clients, InverseVariance(1.0, 5), np.ones((4, 4)), hostile=1)     # clients: one object each

The simulation here and the strategy in `flower` share `bounded` and `next_model`. `clients.simulate` bounds nothing.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from companion.errors import FederationError
from companion.experiments.inputs import whole

from .clients import Report, answer, check


def bounded(report: Report, hostile: int = 1) -> Report:
    """theta, own and loss clipped, coordinate by coordinate, to the (hostile + 1)-th smallest and largest of the clients;
    n at most their lower median, noise and spread at least the upper one.

    The limits of the trimmed mean, Yin et al. (2018), definition 2; clipped and not dropped, so that the rule still
    weighs its clients. While at most `hostile` of them lie, theta, own and loss lie between two honest values, and so
    does any weighted mean; what buys weight is no better than an honest client's. A bound on the norm of a move (Sun et
    al., 2019) is not enough among four: it leaves the direction free. Krum chooses one report, and may choose a corner of
    the clipped box: run it with hostile=0. Shapes as in `Report`, (..., clients, .). FederationError where fewer than
    2 hostile + 1 clients report: liars could then be the majority.
    """
    clients = np.shape(report.theta)[-2]
    if not whole(hostile, "hostile", 0, error=FederationError):
        return report
    if clients < 2 * hostile + 1:
        raise FederationError(
            f"{clients} usable reports bound no hostile client; {2 * hostile + 1} are needed for hostile={hostile}"
        )

    def ranked(values, rank):
        return np.sort(values, axis=-2)[..., rank, None, :]

    def clipped(values):
        return np.clip(values, ranked(values, hostile), ranked(values, clients - 1 - hostile))

    return Report(
        theta=clipped(report.theta),
        n=np.minimum(report.n, ranked(report.n, (clients - 1) // 2)),
        loss=clipped(report.loss),
        noise=np.maximum(report.noise, ranked(report.noise, clients // 2)),
        spread=np.maximum(report.spread, ranked(report.spread, clients // 2)),
        own=clipped(report.own),
    )


def next_model(rule, state, theta, reports: dict[int, Report], hostile: int):
    """What `rule.aggregate` makes of checked reports, client -> report, after `bounded`: state, theta, weights.

    Stacked in the order of the clients, since a sum depends on its order in the last bit.
    """
    together = Report(*map(np.stack, zip(*(reports[k] for k in sorted(reports)), strict=True)))
    return rule.aggregate(state, theta, bounded(together, hostile))


class Attended(NamedTuple):
    """theta (rounds + 1, d) from the start on; refused[round] the reasons, in words."""

    theta: np.ndarray
    refused: list[list[str]]


def federate(
    clients: Sequence, rule, took_part, hostile: int = 1, tamper: Callable[[int, int, Report], Any] | None = None
) -> Attended:
    """The rounds of a federation, client by client as a server sees them; took_part (rounds, clients) says who answers.

    tamper(round, client, report) is what is sent instead of the report; rounds count from 0. A report that `check`
    refuses is left out, and a model that the rule refuses is not taken over, as in `flower`.
    """
    fits = [client.fit() for client in clients]
    theta = np.zeros(fits[0].theta.shape)
    state, path, refused = rule.init(theta), [theta], []
    for number, who in enumerate(np.asarray(took_part, bool)):
        reports, reasons = {}, []
        for k in np.flatnonzero(who):
            sent = answer(clients[k], fits[k], theta, rule)
            try:
                reports[k] = check(tamper(number, k, sent) if tamper else sent, theta.size, str(k))
            except FederationError as error:
                reasons.append(str(error))
        try:
            state, theta, _ = next_model(rule, state, theta, reports, hostile)
        except FederationError as error:
            reasons.append(str(error))
        path.append(theta)
        refused.append(reasons)
    return Attended(np.stack(path), refused)
