"""What is recorded of replications, and when a claim is called fragile."""

import json
import random
import shutil
from pathlib import Path

import pytest

import small_book
from companion.build import replication
from companion.build.book import Book
from companion.build.execution import execute, versions
from companion.errors import BookError

ROOT = Path(__file__).parents[2]


def record(torch="2", **verdicts):
    said = [{"claim": claim, "verdict": v, "evidence": []} for claim, v in verdicts.items()]
    return {"chapter": "one", "seconds": 1.0, "versions": {"torch": torch}, "verdicts": said}


def measured(*estimates, setting="stated"):
    rows = [
        {"setting": setting, "key": "k", "condition": f"row {i}", "interval": {"estimate": e}}
        for i, e in enumerate(estimates)
    ]
    return record() | {"verdicts": [{"claim": "A", "verdict": "holds", "evidence": rows}]}


def published(verdict, *conditions):
    rows = [{"setting": "stated", "key": "k", "condition": c, "interval": {"estimate": 0}} for c in conditions]
    return {"claim": "A", "computed": verdict, "evidence": rows}


def test_every_claim_has_its_verdict_under_every_seed():
    made = replication.gather(
        {7: [record(A="holds"), record(B="open")], 8: [record(A="fails"), record(B="open")]}, "smoke"
    )
    assert made["seeds"] == [7, 8]
    assert made["claims"] == {"A": ["holds", "fails"], "B": ["open", "open"]}


def test_seeds_are_listed_under_the_versions_that_they_ran_with():
    made = replication.gather(
        {7: [record(A="holds"), record(B="open")], 8: [record(A="holds"), record("3", B="open")]}, "smoke"
    )
    assert made["versions"] == [{"torch": "2", "seeds": [7, 8]}, {"torch": "3", "seeds": [8]}]


def test_a_chapter_takes_the_median_of_its_seconds():
    made = replication.gather(
        {seed: [record(A="holds") | {"seconds": s}] for seed, s in enumerate((90.0, 61.4, 60.0))}, "smoke"
    )
    assert made["seconds"] == {"one": 61}


def test_a_claim_that_a_seed_lacks_is_named():
    with pytest.raises(BookError, match="claim B has no verdict under some seeds"):
        replication.gather({7: [record(A="holds", B="open")], 8: [record(A="holds")]}, "smoke")


@pytest.mark.parametrize(("same", "fragile"), [(20, False), (18, False), (17, True)])
def test_a_claim_below_nine_in_ten_is_fragile(same, fragile):
    verdicts = {"claims": {"A": ["holds"] * same + ["open"] * (20 - same)}}
    made = replication.replicated(verdicts, published("holds"))
    assert (made["runs"], made["same"], made["fragile"]) == (20, same, fragile)
    assert replication.replicated({}, published("holds")) is None


def test_what_a_run_computes_is_recorded_where_the_claim_is_published_as_open():
    fragile = record() | {"verdicts": [{"claim": "A", "verdict": "open", "computed": "fails", "evidence": []}]}
    assert replication.gather({7: [fragile]}, "smoke")["claims"] == {"A": ["fails"]}


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        ((0.5, "inf"), (0.5, "inf"), True),
        ((0.5, 1), (0.5 + 1e-9, 1), True),
        ((0.5, 1), (0.5, 1.00001), False),
        ((0.5,), (0.5, 1), False),
        ((0, 1), (1e-16, 1), True),
    ],
)
def test_a_claim_is_constant_where_no_stated_estimate_depends_on_the_seed(first, second, same):
    made = {7: [measured(*first)], 8: [measured(*second)]}
    assert list(replication.constant(made)) == ["A"] * same
    assert replication.constant({7: made[7]}) == {}, "one seed shows nothing"
    beyond = {7: [measured(1, setting="beyond")], 8: [measured(2, setting="beyond")]}
    assert replication.constant(beyond) == {"A": []}, "rows beyond decide nothing"
    found = replication.gather(made, "smoke") | {"claims": {"A": ["holds", "holds"]}}
    assert replication.replicated(found, published("holds", "row 0"))["constant"] == same
    registered_anew = replication.replicated(found, published("fails", "row 0"))
    assert registered_anew["same"] == (2 if same else 0), "what no seed can change needs no new replications"
    assert registered_anew["fragile"] != same
    with_a_new_row = replication.replicated(found, published("fails", "row 0", "another"))
    assert with_a_new_row["constant"] is False, "what the register has added may depend on the seed"
    assert with_a_new_row["same"] == 0


def test_a_claim_is_registered_as_fragile_exactly_where_replications_disagree():
    found = replication.read(ROOT).get("claims")
    if not found:
        pytest.skip("chapters/replication.json is absent; make replicate writes it")
    registered = {name for claims in Book(ROOT).claims().values() for name, claim in claims.items() if claim.fragile}
    assert registered == {name for name, said in found.items() if max(map(said.count, said)) < 0.9 * len(said)}


def test_more_replications_begin_with_the_same_seeds():
    assert replication.seeds(20)[:5] == replication.seeds(5)
    with pytest.raises(BookError, match="use N=1 or more"):
        replication.seeds(0)


def test_the_record_is_written_from_executed_chapters(tmp_path):
    for seed, name in [(seed, "tiny") for seed in (*replication.seeds(2), 1017)] + [(1018, "another")]:
        (tmp_path / str(seed)).mkdir()
        (tmp_path / str(seed) / f"{name}.json").write_text(json.dumps(record(A="holds")))
    target = tmp_path / "chapters" / "replication.json"
    replication.write(tmp_path, ["tiny"], 2, "published", target)
    made = replication.read(tmp_path)
    assert made["seeds"] == [1001, 1002, 1017], "a further seed that is complete counts, one that is not does not"
    assert made["claims"] == {"A": ["holds"] * 3}


@pytest.mark.slow
def test_a_record_that_came_without_its_replications_does_not_keep_them_from_running(tmp_path):
    seeded = "runs, shift, nap = 20, 1.0, 0.0"
    chapter = small_book.CHAPTER.replace(seeded, f"{seeded}\nseed = 0").replace("rng(0)", "rng(seed)")
    root = small_book.write(tmp_path, chapter)
    made = root / "_build/smoke/replications"
    for _ in range(2):
        run = small_book.build(root, "--profile", "smoke", "--replications", "2", target="replicate")
        assert run.returncode == 0, run.stdout
        assert sorted(p.relative_to(made).as_posix() for p in made.glob("*/*.json")) == [
            "1001/tiny.json",
            "1002/tiny.json",
        ]
        shutil.rmtree(made)


@pytest.mark.slow
def test_a_chapter_of_a_replication_chosen_at_random_gives_the_recorded_verdicts_again():
    made = replication.read(ROOT)
    entries = made.get("versions", [])
    others = {seed for entry in entries if not versions().items() <= entry.items() for seed in entry["seeds"]}
    seeds = [seed for seed in made.get("seeds", []) if seed not in others]
    if not seeds:
        pytest.skip("chapters/replication.json has no replication with these versions; make replicate writes one")
    book = Book(ROOT, made["profile"])
    chapter = random.choice([name for name in book.chapters if book.claims().get(name)])
    seed = random.choice(seeds)
    _, again = execute(book, chapter, {"seed": seed})
    recorded = {claim: verdicts[made["seeds"].index(seed)] for claim, verdicts in made["claims"].items()}
    recorded |= {claim.id: claim.verdict for claim in book.claims()[chapter].values() if claim.id in made["constant"]}
    assert {v["claim"]: (chapter, seed, v["computed"]) for v in again["verdicts"]} == {
        claim: (chapter, seed, recorded[claim]) for claim in book.claims()[chapter]
    }
