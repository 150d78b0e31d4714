"""What a chapter does with its claims: judge them, once each, by the register alone."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import stepsize
from companion.evidence import Chapter, chapter, exact, student
from companion.evidence.claims import Claim, Measure
from stepsize.errors import EvidenceError

SIZE = Measure("size", "size of it", (0.0, 2.0), "A believer would.", ("here", "there"), ("far away",))
SAMPLE = np.random.default_rng(0).normal(1, 0.1, 20)


def claim(name):
    return Claim(name, "c", name.lower(), "always", "result", "anywhere", {"size": SIZE}, phrase="small")


def book(*names, seed=0):
    return Chapter("c", seed, {name: claim(name) for name in names or ("P1",)})


def test_words_region_and_setting_come_from_the_register():
    verdict = book().judge("P1", size={"here": exact(1.0), "far away": exact(3.0)})
    assert [(e.setting, e.says, e.measure.words) for e in verdict.evidence] == [
        ("stated", "supports", "size of it"),
        ("beyond", "contradicts", "size of it"),
    ]
    assert verdict.says == "holds"
    assert book().region("P1", "size") == (0.0, 2.0)


@pytest.mark.parametrize(
    ("measured", "message"),
    [
        ({}, "was given nothing; claims.yml registers size"),
        ({"weight": {"here": exact(1.0)}}, "was given weight; claims.yml registers size"),
        ({"size": {}}, "at least one row"),
        ({"size": exact(1.0)}, "give {condition: interval}"),
        ({"size": {"here": 1.0}}, "is no interval"),
        ({"size": {"nowhere": exact(1.0)}}, "registered nowhere"),
    ],
)
def test_what_is_not_registered_is_refused(measured, message):
    with pytest.raises(EvidenceError, match=message):
        book().judge("P1", **measured)


def test_an_unknown_claim_is_named_with_the_known_ones():
    with pytest.raises(EvidenceError, match="has no claim 'P9'; it has P1"):
        book().judge("P9", size={"here": exact(1.0)})


def test_running_a_cell_again_is_no_second_judgement():
    c = book()
    assert c.judge("P1", size={"here": student(SAMPLE)}) == c.judge("P1", size={"here": student(SAMPLE)})
    with pytest.raises(EvidenceError, match="judged before on other evidence"):
        c.judge("P1", size={"here": student(SAMPLE + 1)})


def test_the_bootstrap_of_a_row_is_seeded_by_the_chapter():
    from companion.evidence import bootstrap

    rows = lambda seed: book(seed=seed).judge("P1", size={"here": bootstrap(SAMPLE)}).evidence[0].interval  # noqa: E731
    assert rows(1) == rows(1)
    assert rows(1) != rows(2)


def test_seeds_depend_on_the_chapters_seed_and_on_their_purpose():
    one = book(seed=1)
    assert one.seeds("tuning", 3) == book(seed=1).seeds("tuning", 5)[:3]
    everything = [*one.seeds("tuning", 50), *one.seeds("reporting", 50), *book(seed=2).seeds("tuning", 50)]
    assert len(set(everything)) == 150
    assert one.rng("cloud").random() == book(seed=1).rng("cloud").random() != one.rng("noise").random()


def test_the_summary_lists_every_claim_in_the_order_of_the_book(monkeypatch):
    glued = {}
    monkeypatch.setattr(chapter, "glue", glued.__setitem__)
    c = book("P1", "P2")
    c.judge("P2", size={"here": exact(3.0)})
    with pytest.raises(EvidenceError, match="no evidence for P1"):
        c.summary()
    c.judge("P1", size={"here": exact(1.0)})
    c.summary()
    c.glue_all({"share": (0.456, ".0%"), "name": "half-plane", "fall": (-0.3, ".2f"), "off": (np.float64(5e-7), ".1e")})
    assert repr(glued["c:verdicts"]) == "P1: holds\nP2: fails"
    assert [repr(glued[f"c:{key}"]) for key in ("share", "name", "fall", "off")] == [
        "46%", "half-plane", "−0.30", "5.0 × 10⁻⁷",
    ]  # fmt: skip


def test_a_number_that_is_none_is_not_glued():
    with pytest.raises(EvidenceError, match="is NaN"):
        book().glue("k", float("nan"))


REGISTER = """c:
  P1: {text: one, phrase: one, quantifier: always, subject: result, setting: here, verdict: null,
       measures: {size: {is: size, region: [0, 1], because: so it is, stated: [here]}}}
"""


def test_a_chapter_finds_its_claims_from_the_folder_of_the_book_and_from_chapters(tmp_path, monkeypatch):
    (tmp_path / "chapters").mkdir()
    (tmp_path / "chapters" / "claims.yml").write_text(REGISTER)
    for folder in (tmp_path, tmp_path / "chapters"):
        monkeypatch.chdir(folder)
        assert list(Chapter("c").claims) == ["P1"]


def test_the_library_is_imported_in_half_a_second_and_brings_only_numpy():
    code = (
        "import sys, time; t = time.process_time(); import stepsize; t = time.process_time() - t;"
        "print(t, *{'torch', 'scipy', 'sympy', 'matplotlib', 'numba', 'yaml'} & set(sys.modules))"
    )
    env = os.environ | {"PYTHONPATH": str(Path(stepsize.__file__).parents[1])}
    runs = [
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=env)
        for _ in range(3)
    ]
    seconds = [run.stdout.split() for run in runs]
    assert min(float(first) for first, *_ in seconds) < 0.5
    assert all(len(rest) == 1 for rest in seconds), seconds
