"""Rows of the claims, from pairs and ratios that are known."""

import numpy as np
import pytest

from companion.experiments.quasi_newton import rows
from companion.experiments.quasi_newton.race import NOISY_RULES
from companion.experiments.quasi_newton.secant import bfgs_inverse
from mutants import mutant


def pairs(n=20, d=4):
    rng = np.random.default_rng(0)
    A, C = rng.normal(size=(2, n, d, d))
    B, s = A @ A.mT + np.eye(d), rng.normal(size=(n, d))
    return B, np.linalg.inv(B), s, s + (C @ C.mT @ s[..., None])[..., 0]


def test_a_metric_is_kept_where_the_curvature_is_positive_or_damped():
    made = rows.definite_rows(*pairs())
    assert [(i.estimate, i.n) for i in made.values()] == [(1, 20), (0, 20), (1, 20)]
    B, H, s, y = pairs()
    y[:5] *= -1  # a quarter of the pairs change sides
    assert [i.estimate for i in rows.definite_rows(B, H, s, y).values()] == [0.75, 0.25, 1]


def test_the_defect_of_a_secant_is_relative_to_metric_and_pair():
    _, H, s, y = pairs()
    new = bfgs_inverse(H, s, y)
    assert rows.secant_defect(new, s, y).estimate < 1e-15
    twice = np.eye(2)[None], np.array([[2.0, 0]]), np.array([[1.0, 0]])  # H y = y is a half of s
    assert rows.secant_defect(*twice).estimate == 1
    assert rows.secant_defect(10 * twice[0], 20 * twice[1], 2 * twice[2]).estimate == pytest.approx(1)
    product = 'np.einsum("rij,rj->ri", H, y)'
    assert mutant(rows.secant_defect, product, product.replace("y)", "s)"))(new, s, y).estimate > 1e-3


def test_every_ratio_stands_in_the_row_of_where_its_metric_comes_from():
    ratio = {name: np.arange(5.0) + 10 * k for k, name in enumerate(NOISY_RULES)}
    made = rows.excess_rows(ratio)
    place = list(NOISY_RULES).index
    for words, name in {
        "secants of SQN": "SQN",
        "outer products: Shampoo": "Shampoo",
        "random probes of the curvature: AdaHessian": "AdaHessian",
        "heavy ball without any metric": "heavy ball",
    }.items():
        assert made[f"gradients are sampled, {words}"].estimate == 2 + 10 * place(name)
    assert len(made) == len(NOISY_RULES) - len(["SGD", "AdaGrad", "Adam"])


def test_the_numbers_of_the_axes_are_medians_over_streams():
    known = np.tile([1.0, 1.0, 0.5, 0.5, 0.5, 0.5, 0.02, 0.01], (5, 1)) * np.array([[0.0], [1], [1], [1], [9]])
    left = np.full((5, 8), 0.125)
    assert rows.axis_numbers((known, left), (known / 100, left)) == {
        "learned-steep": "75%",  # between 0.5 and 1, the middle two of five streams and four axes
        "learned-flat": "1.5%",
        "left-flat": "25%",
        "learned-lazy": "0.01",
    }
