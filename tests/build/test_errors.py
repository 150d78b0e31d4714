"""Bad input ends with one line that names the offender and the remedy. A row per mistake."""

import inspect
import math
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import stepsize
from companion.build.book import Book
from companion.build.pages import title
from companion.evidence import Chapter, Interval, bootstrap, decide, exact, proportion, student
from companion.experiments import datasets
from stepsize import (
    SGD,
    AdaGrad,
    Adam,
    ClipByNorm,
    Coupled,
    Decoupled,
    HeavyBall,
    LinearDecay,
    RMSProp,
    chain,
    descend,
    errors,
    tune,
    walk,
)
from stepsize.errors import StepsizeError
from stepsize.optim import Optimizer
from stepsize.trace import trace

CHAPTER = """---
kernelspec: {name: python3, display_name: Python 3}
---
# One
```{code-cell}
:tags: [parameters]
runs = 8
```
"""


@pytest.fixture
def small(tmp_path):
    """A book with one chapter, as files that a test may break."""
    (tmp_path / "chapters").mkdir()
    (tmp_path / "_toc.yml").write_text("format: jb-book\nroot: chapters/one\n")
    (tmp_path / "chapters" / "one.md").write_text(CHAPTER)
    return tmp_path


def says(call, offender, remedy):
    """The call ends with one of our errors, on one line, with both texts in it."""
    with pytest.raises(StepsizeError) as caught:
        call()
    message = str(caught.value)
    assert "\n" not in message
    assert 15 < len(message) < 320
    assert offender in message, message
    assert remedy in message, message


def bowl(x, t):
    return x


def parameter(*shape, dtype=torch.float32):
    return nn.Parameter(torch.ones(*shape, dtype=dtype), requires_grad=dtype.is_floating_point)


def losses(lrs, seeds):
    return np.ones((len(lrs), len(seeds)))


@dataclass(frozen=True, eq=False)
class Branches(stepsize.contract.Stateless):
    """A rule that looks at its data."""

    lr: float = 0.1

    def step(self, state, g, x):
        return state, self.lr, (g if g > 0 else -g)


HYPERPARAMETERS = [
    (lambda: SGD(lr=-0.1), "SGD: lr", "at least 0"),
    (lambda: Adam(lr=math.nan), "Adam: lr", "must be finite"),
    (lambda: Adam(lr=math.inf), "got inf", "must be finite"),
    (lambda: Adam(lr="0.1"), "got '0.1'", "must be a number"),
    (lambda: Adam(lr=None), "got None", "must be a number"),
    (lambda: Adam(lr=True), "got True", "must be a number"),
    (lambda: Adam(lr=0.1 + 1j), "lr", "must be a number"),
    (lambda: Adam(beta1=1.0), "Adam: beta1", "in [0, 1)"),
    (lambda: Adam(beta2=-0.1), "beta2", "in [0, 1)"),
    (lambda: Adam(beta1=np.array([0.9, 1.0])), "beta1", "in [0, 1)"),
    (lambda: Adam(beta1=torch.tensor(1.5, requires_grad=True)), "beta1", "in [0, 1)"),
    (lambda: Adam(lr=np.linspace(-2, 1, 64)[:, None]), "got -2.0", "at least 0"),
    (lambda: Adam(lr=["a"] * 99), "lr must be a number", "..."),
    (lambda: Adam(eps=-1e-8), "eps", "at least 0"),
    (lambda: RMSProp(beta=1), "RMSProp: beta", "in [0, 1)"),
    (lambda: HeavyBall(momentum=1.0), "momentum", "in [0, 1)"),
    (lambda: AdaGrad(initial=-1.0), "initial", "at least 0"),
    (lambda: Decoupled(Adam(), decay=-1), "Decoupled: decay", "at least 0"),
    (lambda: Coupled(Adam(), decay=math.nan), "decay", "must be finite"),
    (lambda: Decoupled(0.1, Adam()), "got 0.1", "make an instance of a rule"),
    (lambda: Decoupled(Adam), "Decoupled needs a rule", "make an instance of a rule"),
    (lambda: ClipByNorm(0), "ClipByNorm: limit", "above 0"),
    (lambda: LinearDecay(SGD(), 0), "LinearDecay: horizon", "above 0"),
    (lambda: chain(), "chain needs a rule", "such as Adam"),
    (lambda: chain(Adam(), ClipByNorm(1.0)), "ClipByNorm(limit=1.0)", "make an instance of a rule"),
    (lambda: chain(0.5, Adam()), "0.5", "chain(ClipByNorm(1.0), Adam())"),
    (lambda: trace(Branches()), "Branches has no formula", "without branches"),
]

DESCENT = [
    (lambda: descend(Adam, bowl, [1.0], 9), "Adam", "make an instance of a rule"),
    (lambda: list(islice(walk("Adam", bowl, [1.0]), 1)), "'Adam'", "make an instance of a rule"),
    (lambda: descend(SGD(), bowl, [1, 2], 9), "dtype int64", "np.asarray(x0, float)"),
    (lambda: descend(SGD(), bowl, 1.0, 9), "got ()", "write [x] for one number"),
    (lambda: descend(SGD(), bowl, [], 9), "(0,)", "d >= 1"),
    (lambda: descend(SGD(), bowl, [1.0, math.nan], 9), "x0 has NaN", "start from a finite point"),
    (lambda: descend(SGD(), lambda x, t: x[:2], np.ones(3), 9), "grad returned shape (2,)", "must agree"),
    (lambda: descend(SGD(), lambda x, t: x[0], np.ones((2, 3)), 9), "shape (3,) at step 0", "must agree"),
    (lambda: descend(SGD(), lambda x, t: x * math.nan, np.ones((2, 3)), 9), "step 1, run (0,)", "nonfinite='record'"),
    (lambda: descend(SGD(9.0), lambda x, t: x**3, [9.0], 99), "non-finite", "lower the learning rate"),
    (lambda: descend(SGD(), bowl, [1.0], 0), "steps=0", "at least 1"),
    (lambda: descend(SGD(), bowl, [1.0], 2.5), "steps=2.5", "whole numbers"),
    (lambda: descend(SGD(), bowl, [1.0], 9, every=0), "every=0", "at least 1"),
    (lambda: descend(SGD(), bowl, [1.0], 9, nonfinite="skip"), "'skip'", "'raise' or 'record'"),
    (lambda: tune(losses, [0.1], [1], [2]), "shape (1,)", "at least two"),
    (lambda: tune(losses, [0.1, 0.01], [1], [2]), "lrs must rise", "np.sort(lrs)"),
    (lambda: tune(losses, [0.1, 1], [], [2]), "tuning seed", "at least one"),
    (lambda: tune(losses, [0.1, 1], [1, 2], [2, 3]), "seeds [2]", "tune on seeds that are not reported"),
    (lambda: tune(losses, [0.1, 1], [1, 2], [3, 3]), "reporting seeds repeat", "each seed once"),
    (lambda: tune(lambda lrs, seeds: np.ones(3), [0.1, 1], [1], [2]), "shape (3,)", "expected (lrs, seeds) = (2, 1)"),
    (lambda: tune(lambda *a: losses(*a) * math.inf, [0.1, 1], [1], [2]), "0.1 ... 1", "widen it"),
]


def sparse_then_dense():
    p = parameter(3, 2)
    optimizer = Optimizer([p], Adam())
    p.grad = torch.sparse_coo_tensor([[1]], torch.ones(1, 2), (3, 2), check_invariants=True)
    optimizer.step()
    p.grad = torch.ones(3, 2)
    optimizer.step()


def sparse_in_two_axes():
    p = parameter(3, 2)
    p.grad = torch.sparse_coo_tensor([[1], [1]], torch.ones(1), (3, 2), check_invariants=True)
    Optimizer([p], Adam()).step()


def state_of_another_rule():
    p = parameter(2)
    p.grad = torch.ones(2)
    donor = Optimizer([p], AdaGrad())
    donor.step()
    Optimizer([p], Adam()).load_state_dict(donor.state_dict())


def state_of_torch():
    p = parameter(2)
    p.grad = torch.ones(2)
    donor = torch.optim.Adam([p])
    donor.step()
    Optimizer([p], Adam()).load_state_dict(donor.state_dict())


def scheduled(lr):
    p = parameter(2)
    p.grad = torch.ones(2)
    optimizer = Optimizer([p], Adam())
    optimizer.param_groups[0]["lr"] = lr
    optimizer.step()


OPTIM = [
    (lambda: Optimizer([], Adam()), "no parameters", "model.parameters()"),
    (lambda: Optimizer(iter([]), Adam()), "no parameters", "a generator only once"),
    (lambda: Optimizer([parameter(2)], Adam), "Optimizer needs a rule", "make an instance of a rule"),
    (lambda: Optimizer([parameter(2)], torch.optim.Adam([parameter(1)])), "Optimizer needs a rule", "such as Adam"),
    (lambda: Optimizer([parameter(2)], Adam(np.array([0.1, 0.2]))), "one number", "use groups"),
    (lambda: Optimizer([{"params": [parameter(2)], "lr": -1}], Adam()), "Adam: lr", "at least 0"),
    (
        lambda: Optimizer([{"params": [parameter(2)], "weight_decay": 0.1}], Adam()),
        "['weight_decay']",
        "lr, beta1, beta2, eps",
    ),
    (lambda: Optimizer([parameter(2, dtype=torch.int64)], Adam()), "torch.int64", "real floats"),
    (lambda: scheduled(-1.0), "lr", "at least 0"),
    (lambda: scheduled("fast"), "one number", "use groups"),
    (
        lambda: Optimizer([parameter(2)], chain(ClipByNorm(1.0), SGD()), compiled=True),
        "Chain looks at whole gradients",
        "without a kernel",
    ),
    (sparse_then_dense, "(3, 2)", "choose one"),
    (sparse_in_two_axes, "(3, 2)", "first axis only"),
    (state_of_another_rule, "Adam keeps", "the same rule"),
    (state_of_torch, "exp_avg", "the same rule"),
]

EVIDENCE = [
    (lambda: bootstrap([1, 2, 3]), "got 3", "run more seeds"),
    (lambda: bootstrap([1, 2, 3, 4, math.nan]), "1 of 5 values are NaN", "count them as failures"),
    (lambda: bootstrap(range(9), level=95), "got 95", "0.95 is 95 %"),
    (lambda: bootstrap([1, 2, 3, -math.inf, math.inf]), "NaN on some resamples", "use a quantile"),
    (lambda: student([1, 2, 3, 4, math.inf]), "infinite values", "bootstrap the median"),
    (lambda: student([1, 2]), "got 2", "run more seeds"),
    (lambda: proportion(9, 8), "9 successes of 8", "successes <= n"),
    (lambda: proportion(2.5, 8), "2.5 successes", "two counts"),
    (lambda: exact(math.nan), "nan", "look for NaN"),
    (lambda: Interval(5, 0, 1, "m", 9), "5", "not inside its interval [0, 1]"),
    (lambda: decide("always", []), "without stated evidence", "measure where the text stands"),
    (lambda: Chapter("c", claims={}).glue("share", math.nan), "c:share is NaN", "cannot say it"),
]

OTHERS = [
    (lambda: datasets.load("mnist"), "'mnist'", "cholera_1849"),
    (
        lambda: replace(datasets.DATASETS["cholera_1849"], module="no_such_package").verify(),
        "no_such_package",
        "pip install",
    ),
    (
        lambda: replace(datasets.DATASETS["cholera_1849"], files={"data/cholera_1849.csv": "0"}).verify(),
        "checksum",
        "pip install",
    ),
    (lambda: Book(profile="fast"), "'fast'", "PROFILE=published"),
]


@pytest.mark.parametrize(
    ("call", "offender", "remedy"),
    [
        pytest.param(*case, id=f"{group}{i}")
        for group, cases in {
            "rule": HYPERPARAMETERS,
            "descent": DESCENT,
            "optim": OPTIM,
            "evidence": EVIDENCE,
            "other": OTHERS,
        }.items()
        for i, case in enumerate(cases)
    ],
)
def test_bad_input_is_named_on_one_line_with_its_remedy(call, offender, remedy):
    with np.errstate(all="ignore"):
        says(call, offender, remedy)


def test_a_chapter_without_claims_or_a_folder_without_a_book_says_so(tmp_path, monkeypatch):
    (tmp_path / "claims.yml").write_text("c: {}\n")
    monkeypatch.chdir(tmp_path)
    says(lambda: Chapter("d"), "no chapter 'd'", "it has c")


BOOKS = [
    (lambda b: b.source("two"), {}, "unknown chapter 'two'", "chapters/ has one"),
    (lambda b: b.parameters("one", {"rnus": 9}), {}, "no parameter 'rnus'", "has runs"),
    (lambda b: b.parameters("one", {"runs": "many"}), {}, "one.runs = 'many'", "change the value"),
    (lambda b: b.smoke(), {"chapters/smoke.yml": "two: {runs: 1}\n"}, "unknown chapter 'two'", "chapters/ has one"),
    (lambda b: b.smoke(), {"chapters/smoke.yml": "one: 5\n"}, "got 5", "parameter names to values"),
    (lambda b: b.smoke(), {"chapters/smoke.yml": "one: {\n"}, "smoke.yml, line", "correct it"),
    (lambda b: b.chapters, {"_toc.yml": "root: chapters/lost\n"}, "chapters/lost", "write it or take it out"),
    (
        lambda b: b.parameters("one", {"runs": 1}),
        {"chapters/one.md": CHAPTER.replace("parameters", "p")},
        "0 cells",
        "exactly one",
    ),
]


@pytest.mark.parametrize(("ask", "files", "offender", "remedy"), BOOKS)
def test_a_broken_book_is_named_on_one_line_with_its_remedy(small, ask, files, offender, remedy):
    for name, text in files.items():
        (small / name).write_text(text)
    says(lambda: ask(Book(small, "smoke")), offender, remedy)


def test_a_byte_order_mark_is_no_part_of_a_chapter_s_text_or_a_setting(small):
    """Editors of Windows begin a file with one; `unknown chapter` was the answer."""
    (small / "chapters/smoke.yml").write_text("one: {runs: 2}\n")
    (small / "chapters/claims.yml").write_text("one: {}\n")
    plain = Book(small, "smoke")
    before = plain.chapters, plain.smoke(), plain.parameters("one"), list(plain.claims()), title(plain, "one")
    for name in ("_toc.yml", "chapters/smoke.yml", "chapters/claims.yml", "chapters/one.md"):
        text = (small / name).read_text()
        (small / name).write_text("\ufeff" + text, encoding="utf-8")
    marked = Book(small, "smoke")
    assert (
        marked.chapters,
        marked.smoke(),
        marked.parameters("one"),
        list(marked.claims()),
        title(marked, "one"),
    ) == before
    assert before[0] == ["one"]


def test_every_error_of_the_library_has_one_base_and_a_familiar_second():
    ours = [e for _, e in inspect.getmembers(errors, inspect.isclass)]
    assert all(issubclass(e, StepsizeError) for e in ours)
    for error in set(ours) - {StepsizeError}:
        assert issubclass(error, (ValueError, TypeError, LookupError, RuntimeError, ArithmeticError)), error
        assert error.__doc__


def test_the_library_raises_no_nameless_errors():
    """`raise ValueError` and friends would escape `except StepsizeError`."""
    nameless = ("raise ValueError", "raise RuntimeError", "raise Exception", "raise TypeError", "raise KeyError")
    for path in Path(stepsize.__file__).parent.glob("*.py"):
        assert not [word for word in nameless if word in path.read_text(encoding="utf-8")], path.name
