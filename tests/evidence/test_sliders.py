"""Curves that the reader moves: the page looks up what the library computed, and asks no one else."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest

from companion.evidence.sliders import SliderPlot
from companion.experiments.plateau_and_valley.figures import movable_cliff
from mutants import mutant
from stepsize import responses
from stepsize.errors import ShapeError

PICTURE = movable_cliff()


def data(picture):
    return json.loads(re.search(r"\"\), (\{.*\})\);\n", picture._repr_html_())[1])


def test_every_curve_on_the_page_is_the_closed_form():
    seen, k = data(PICTURE), np.asarray(PICTURE.x)
    labels = [[float(a) for a in seen["labels"][0]], [int(a.split()[0].replace(",", "")) for a in seen["labels"][1]]]
    cells = [(i, j) for i in range(seen["sizes"][0]) for j in range(seen["sizes"][1])]
    forget = 10.0 ** -np.linspace(1, 4, len(labels[0]))
    for (i, j), curve, tight in zip(cells, seen["curves"], seen["levels"][1], strict=True):
        exact = responses.adam_cliff(k, 0.9, 1 - forget[i], labels[1][j], 1e6)
        assert np.abs(np.array(curve) / exact - 1).max() < 1e-3
        assert tight == pytest.approx(responses.adam_worst(np.inf, 0.9, 1 - forget[i]), rel=1e-3)


def test_the_picture_that_is_seen_first_is_the_default_adam_after_a_long_plateau():
    page = PICTURE._repr_html_()
    assert "Longest step: 6.57 α, at steep step 12" in re.search(r"<output[^>]*>(.*?)</output>", page)[1]
    points = re.search(r'class="curve" points="([^"]*)"', page)[1].split()
    assert len(points) == len(PICTURE.x)
    assert min(float(p.split(",")[1]) for p in points) > 0


def test_the_page_needs_no_other_host_and_names_every_slider():
    page = PICTURE._repr_html_()
    assert not re.search(r"https?://|src=", page)
    assert page.count('type="range"') == page.count("<label>") == 2
    assert page.count('aria-label="') == 3


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"curves": PICTURE.curves[1:]}, "curves"),
        ({"says": PICTURE.says[1:]}, "says"),
        ({"levels": {"bound": np.ones(3)}}, "bound"),
        ({"curves": 0 * np.asarray(PICTURE.curves)}, "above 0"),
    ],
)
def test_settings_that_do_not_fit_are_refused(change, word):
    with pytest.raises(ShapeError, match=word):
        replace(PICTURE, **change)


def test_a_picture_that_shows_another_cell_is_noticed():
    wrong = mutant(SliderPlot, "np.ravel_multi_index(self.start, sizes)", "0")(**vars(PICTURE))
    assert "6.57" not in re.search(r"<output[^>]*>(.*?)</output>", wrong._repr_html_())[1]
