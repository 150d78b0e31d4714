"""The moving pictures in a real browser, on the built chapters: their programming interface, pointer, keyboard, themes, print."""

import json

import numpy as np
import pytest

from browsing import FURTHER, PHONE, address, settle, theme, violations
from companion.evidence.pictures import pictures

PICTURES = pictures()
#: A change of the first state that the library's own numbers follow.
CHANGED = {
    "the_rules": {"rule": "RMSProp", "gradients": np.random.default_rng(2).normal(size=60).tolist(), "t": 31},
    "plateau_and_valley": {"rule": "AdaGrad", "lr": 0.063, "slope": 0.1, "t": 40},
    "feature_scales": {"rule": "AdaGrad", "size": 100.0, "lr": 0.3},
    "poisson_bursts": {"size": 20.0, "memory": 100},
    "gradient_clipping": {"size": 200.0, "clip": 30.0},
    "sparse_embeddings": {"gap": 37},
    "adversarial_training": {"start": [0.5, 1.25], "rate": 0.4},
    "federated_learning": {"shift": 1.1, "noise": 4.0},
    "tau_leaping": {"z": 1.6},
    "riemannian_metric": {"angle": 45, "stretch": 3.0},
    "quasi_newton": {"condition": 40.0},
}
#: Where a pointer takes hold and where to, in pixels from the middle of the drawing's handle, and what of the state changes.
DRAGGED = {
    "the_rules": ("gradients", (-40, 30)),
    "plateau_and_valley": ("t", (-80, 0)),
    "feature_scales": ("size", (-60, 0)),
    "poisson_bursts": ("size", (0, 40)),
    "gradient_clipping": ("size", (0, 40)),
    "adversarial_training": ("start", (-40, -60)),
    "federated_learning": ("shift", (60, 0)),
    "riemannian_metric": ("angle", (-30, -30)),
    "quasi_newton": ("next", (-60, 20)),
}
CONTROLS = "figure.picture :is(button, select, summary, input)"

each = pytest.mark.parametrize("picture", PICTURES)


def opened(page, picture):
    page.set_default_timeout(120_000)
    page.seen = []
    page.on("request", lambda r: None if r.url.startswith(("file:", "data:", "blob:")) else page.seen.append(r.url))
    page.on("console", lambda m: page.seen.append(m.text) if m.type in ("error", "warning") else None)
    page.on("pageerror", lambda e: page.seen.append(str(e)))
    page.goto(address(f"chapters/{picture}.html"), wait_until="domcontentloaded")
    page.wait_for_function(f"() => window.pictures?.{picture}")
    return page


def state(page, picture):
    return page.evaluate(f"pictures.{picture}.state()")


@each
def test_a_picture_opens_on_the_numbers_of_the_library_and_follows_its_state(page, picture):
    opened(page, picture)
    for change in ({}, CHANGED[picture]):
        page.evaluate(f"pictures.{picture}.set({json.dumps(change)})")
        now = state(page, picture)
        assert now == PICTURES[picture].start | change
        expected = PICTURES[picture].numbers(now)
        seen = page.evaluate(f"pictures.{picture}.numbers()")
        np.testing.assert_allclose([seen[k] for k in expected], list(expected.values()), rtol=1e-12, atol=1e-8)
    assert len(page.locator(f"#picture-{picture} .said").inner_text().split()) > 8
    assert page.seen == []


@each
def test_every_control_works_by_keyboard_and_is_spoken(page, picture):
    opened(page, picture)
    sliders = page.locator(f"#picture-{picture} input[type=range]:visible")
    for k in range(sliders.count()):
        slider = sliders.nth(k)
        slider.focus()
        assert slider.evaluate("e => getComputedStyle(e).outlineStyle") != "none"
        page.keyboard.press("Home")  # from one end, so that there is a step to take
        name, before, spoken = page.evaluate(f"[document.activeElement.labels[0].textContent, JSON.stringify(pictures.{picture}.state()), document.activeElement.getAttribute('aria-valuetext')]")  # fmt: skip
        page.keyboard.press("ArrowRight")
        fine = slider.input_value()
        assert json.dumps(state(page, picture)) != json.dumps(json.loads(before)), name
        assert slider.get_attribute("aria-valuetext") != spoken, name
        page.keyboard.press("PageUp")
        assert float(slider.input_value()) > float(fine), name
    for button in page.locator(f"#picture-{picture} button").all():
        button.press("Enter")
    page.wait_for_function(f"() => document.querySelector('#picture-{picture} [role=status]').textContent.length > 20")
    assert state(page, picture) == PICTURES[picture].start, "the last button starts again"


@pytest.mark.parametrize("picture", DRAGGED)
def test_a_handle_follows_the_pointer(page, picture):
    opened(page, picture)
    settle(page)
    key, (right, down) = DRAGGED[picture]
    target = page.locator(f"#picture-{picture} .target").first
    target.scroll_into_view_if_needed()
    box = target.bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + right / 2, y + down / 2)
    halfway = state(page, picture)[key]
    page.mouse.move(x + right, y + down)
    page.mouse.up()
    after = state(page, picture)[key]
    assert after != halfway != PICTURES[picture].start[key]
    page.mouse.move(x, y)
    assert state(page, picture)[key] == after, "let go, it stays"


@each
def test_nothing_moves_by_itself(browser, picture):
    context = browser.new_context(reduced_motion="no-preference")
    page = opened(context.new_page(), picture)
    drawn = f"document.querySelector('#picture-{picture} svg').outerHTML"
    before = page.evaluate(drawn)
    page.wait_for_timeout(400)
    assert page.evaluate(drawn) == before
    assert page.evaluate(f"document.querySelector('#picture-{picture}').getAnimations({{subtree: true}}).length") == 0
    context.close()


@each
def test_a_picture_has_no_barrier_and_fits_a_phone(page, picture):
    opened(page, picture)
    page.evaluate("document.querySelectorAll('figure.picture details').forEach((d) => (d.open = true))")
    rest = ".bd-sidebar-primary, .bd-sidebar-secondary, .bd-header, .bd-article section > :not(figure.picture, section)"
    for size in ({"width": 1280, "height": 900}, PHONE | {"width": 375}):
        page.set_viewport_size(size)
        page.wait_for_timeout(100)
        small = page.evaluate(f"[...document.querySelectorAll('{CONTROLS}')].filter((e) => e.offsetParent && e.getBoundingClientRect().height < 24).map((e) => e.outerHTML.slice(0, 80))")  # fmt: skip
        assert small == []
        figure = page.locator(f"#picture-{picture}").bounding_box()
        assert figure["x"] >= 0
        assert figure["x"] + figure["width"] <= size["width"]
        cut = page.evaluate(f"""() => {{ const svg = document.querySelector('#picture-{picture} > svg'), box = svg.getBoundingClientRect();
          return [...svg.querySelectorAll('text')].map((e) => [e.textContent, e.getBoundingClientRect()])
            .filter(([, r]) => r.left < box.left - 1 || r.right > box.right + 1 || r.bottom > box.bottom + 1).map(([t]) => t); }}""")
        assert cut == []
        for mode in ("light", "dark"):
            theme(page, mode)
            found = violations(page, {"rules": FURTHER}, without=rest)
            assert [line for line in found if "picture" in line] == []


@each
def test_print_shows_the_picture_as_it_stands_and_no_controls(page, picture):
    opened(page, picture)
    page.emulate_media(media="print")
    assert page.locator(f"#picture-{picture} > svg").is_visible()
    assert page.locator(f"#picture-{picture} .said").is_visible()
    assert not page.locator(f"#picture-{picture} .controls").is_visible()
    page.emulate_media(media="screen")


@each
def test_without_scripts_there_are_words_and_numbers(browser, picture):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(address(f"chapters/{picture}.html"), wait_until="domcontentloaded")
    figure = page.locator(f"#picture-{picture}")
    assert PICTURES[picture].alt in figure.inner_text()
    assert figure.locator("tr").count() == len(PICTURES[picture].words)
    assert len(figure.locator("figcaption").inner_text().split()) > 8
    context.close()
