"""Rows of the chapter's claims, condition -> interval, and numbers of its prose."""

import numpy as np

from companion.evidence import Interval, each, exact
from companion.evidence.wording import number
from stepsize.metric import apply

from .race import OUTER_PRODUCTS, SECANTS
from .secant import bfgs_inverse, bfgs_metric, powell_damping


def definite_rows(B, H, s, y) -> dict[str, Interval]:
    """The share of updates that are positive definite: of pairs (s, y) with s'y > 0, of the same with -y, and of the latter damped.

    B (n, d, d) are metrics, H their inverses; s and y have shape (n, d).
    """
    updated = {
        "the pair has positive curvature, s'y > 0": bfgs_inverse(H, s, y),
        "the pair has negative curvature, s'y < 0": bfgs_inverse(H, s, -y),
        "the pair is damped when its curvature is not positive": bfgs_metric(B, s, powell_damping(s, -y, apply(B, s))),
    }
    return {pair: exact((np.linalg.eigvalsh(M)[:, 0] > 0).mean(), len(M)) for pair, M in updated.items()}


def secant_defect(H, s, y) -> Interval:
    """The largest |H y - s| / (|H| |y|) over inverse metrics H (n, d, d) and their pairs, (n, d)."""
    miss = np.linalg.norm(np.einsum("rij,rj->ri", H, y) - s, axis=1)
    return exact((miss / np.linalg.norm(H, 2, axis=(1, 2)) / np.linalg.norm(y, axis=1)).max(), len(H))


def excess_rows(ratio: dict) -> dict[str, Interval]:
    """Medians of `ratio`, losses of a method over Adam's stream by stream, in the words of the claim: by where the metric comes from."""
    sampled = {f"secants of {name}": ratio[name] for name in SECANTS}
    sampled |= {f"outer products: {name}": ratio[name] for name in OUTER_PRODUCTS}
    sampled["random probes of the curvature: AdaHessian"] = ratio["AdaHessian"]
    sampled["heavy ball without any metric"] = ratio["heavy ball"]
    return each({f"gradients are sampled, {words}": values for words, values in sampled.items()})


def axis_numbers(online, lazy) -> dict[str, str]:
    """What the metrics of online and lazy BFGS know, for the prose: medians over streams of what `learned_axes` returned."""
    known, left = online
    half, quarter = known.shape[-1] // 2, -(known.shape[-1] // 4)
    return {
        "learned-steep": f"{np.median(known[:, :half]):.0%}",
        "learned-flat": f"{np.median(known[:, quarter:]):.1%}",
        "left-flat": f"{np.median(left[:, quarter:].sum(-1)):.0%}",
        "learned-lazy": number(np.median(lazy[0], axis=0).max()),
    }
