"""The explorer in a real browser, on the built page: its programming interface, links, keyboard, speed, themes, print."""

import json

import numpy as np
import pytest

from browsing import HTML, PHONE, address, theme, violations
from companion.evidence.landscapes import LANDSCAPES, Noise
from companion.evidence.presets import RULES, presets
from stepsize import descend

PAGE = "chapters/explorer.html"
PRESETS = presets()
#: Milliseconds of the processor for drawing four lanes of 2000 steps.
BUDGET = 16


@pytest.fixture
def explorer(page):
    """The page, opened: with what it asked for and complained of in `page.seen`."""
    page.seen = []
    page.on("request", lambda r: None if r.url.startswith(("file:", "data:", "blob:")) else page.seen.append(r.url))
    page.on("console", lambda m: page.seen.append(m.text) if m.type in ("error", "warning") else None)
    page.on("pageerror", lambda e: page.seen.append(str(e)))
    page.goto(address(PAGE))
    page.wait_for_function("() => window.explorer?.frame")
    return page


def set_state(page, change):
    page.evaluate(f"explorer.set({json.dumps(change)})")


def test_frames_are_the_library_s(explorer):
    lanes = [{"rule": r, "p": RULES_P[r] | {"lr": 0.01}, "clip": "none", "limit": 1} for r in ("Adam", "AMSGrad")]
    set_state(explorer, {"landscape": "rosenbrock", "start": [-1.1, 0.9], "steps": 500, "lanes": lanes, "noise": Noise("normal", 0.1, 4)._asdict()})  # fmt: skip
    frames = explorer.evaluate("Array.from({length: 500}, (_, t) => explorer.frame(t))")
    for k, rule in enumerate((type(RULES["Adam"])(0.01), type(RULES["AMSGrad"])(0.01))):
        land = LANDSCAPES["rosenbrock"].at(Noise("normal", 0.1, 4))
        path = descend(rule, land.grad, [-1.1, 0.9], 500)
        expected = {
            "x": path.x[:-1],
            "rate": path.rate,
            "direction": path.direction,
            "step": path.rate * path.direction,
        }
        for name, values in expected.items():
            seen = np.array([frame[k][name] for frame in frames])
            np.testing.assert_allclose(seen, values, rtol=1e-12, atol=1e-12, err_msg=name)
        np.testing.assert_allclose([f[k]["loss"] for f in frames], land.loss(path.x[:-1]), rtol=1e-12, atol=1e-12)


RULES_P = {name: {"lr": 1e-3, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8} for name in ("Adam", "AMSGrad")}


@pytest.mark.parametrize("preset", PRESETS, ids=lambda p: p["name"])
def test_a_preset_is_asked_answered_and_played_without_a_complaint(explorer, preset):
    explorer.get_by_role("button", name=preset["title"], exact=True).click()
    explorer.get_by_role("button", name=preset["answers"][preset["right"]], exact=True).click()
    assert explorer.locator(".reveal").inner_text().startswith("Right.")
    assert "{" not in explorer.locator(".reveal").inner_text()
    assert explorer.evaluate("explorer.state().t === explorer.state().steps"), "with reduced motion a race ends at once"
    assert explorer.seen == []


def test_a_link_restores_the_state(explorer, context):
    set_state(explorer, {"landscape": "bowl", "start": [1.25, -0.5], "t": 77, "steps": 240})
    explorer.wait_for_function("() => location.hash.includes('land=bowl')")
    other = context.new_page()
    other.goto(explorer.url)
    other.wait_for_function("() => window.explorer?.frame")
    assert other.evaluate("explorer.state()") == explorer.evaluate("explorer.state()")
    other.close()


def test_the_name_of_a_preset_is_a_link(context):
    page = context.new_page()
    page.goto(address(PAGE) + "#preset=game")
    page.wait_for_function("() => window.explorer?.frame")
    assert page.evaluate("explorer.state().landscape") == "game"
    page.close()


def test_four_lanes_of_2000_steps_are_drawn_within_a_frame(explorer):
    lanes = [{"rule": r, "p": {"lr": None}, "clip": "none", "limit": 1} for r in ("Adam", "SGD", "RMSProp", "AMSGrad")]
    for lane in lanes:
        lane["p"] = explorer.evaluate("r => ({...explorerData.rules[r].p, lr: 0.01})", lane["rule"])
    set_state(explorer, {"landscape": "valley", "lanes": lanes, "steps": 2000, "t": 2000})
    session = explorer.context.new_cdp_session(explorer)
    session.send("Performance.enable", {"timeDomain": "threadTicks"})  # processor time: neighbours do not count

    def milliseconds(draws):
        explorer.evaluate(f"() => {{ for (let k = 0; k < {draws}; k++) explorer.draw(); }}")
        metrics = {m["name"]: m["value"] for m in session.send("Performance.getMetrics")["metrics"]}
        return 1000 * metrics["TaskDuration"]

    milliseconds(20)
    marks = [milliseconds(10) for _ in range(9)]
    assert np.median(np.diff(marks)) / 10 <= BUDGET, np.diff(marks) / 10


def test_the_keyboard_alone_reaches_everything(explorer):
    explorer.evaluate("document.querySelectorAll('.explorer details').forEach((d) => (d.open = true))")
    wanted = "[...document.querySelectorAll('.explorer :is(button, input, select, summary, canvas, a)')].filter((e) => e.offsetParent)"  # fmt: skip
    count = explorer.evaluate(f"{wanted}.length")
    explorer.evaluate("document.querySelector('.presets button').focus()")
    reached = set()
    for _ in range(count + 40):
        reached.add(explorer.evaluate(f"{wanted}.indexOf(document.activeElement)"))
        explorer.keyboard.press("Tab")
    missed = explorer.evaluate(f"r => {wanted}.filter((_, i) => !r.includes(i)).map((e) => e.outerHTML.slice(0, 90))", list(reached))  # fmt: skip
    assert missed == []


def test_arrows_move_a_slider_finely_and_pages_coarsely(explorer):
    rate = explorer.get_by_role("slider", name="learning rate").first
    rate.focus()
    before = explorer.evaluate("explorer.state().lanes[0].p.lr")
    explorer.keyboard.press("ArrowRight")
    fine = explorer.evaluate("explorer.state().lanes[0].p.lr")
    explorer.keyboard.press("PageUp")
    coarse = explorer.evaluate("explorer.state().lanes[0].p.lr")
    assert 1 < fine / before < 1.3 < coarse / fine
    assert "learning rate" in rate.get_attribute("aria-label")
    assert float(rate.get_attribute("aria-valuetext").replace("−", "-")) == pytest.approx(coarse, rel=1e-2)


def test_shortcuts_work_on_the_map_and_sleep_in_fields(explorer):
    explorer.locator("canvas.map").focus()
    start = explorer.evaluate("explorer.state().t")
    explorer.keyboard.press(".")
    assert explorer.evaluate("explorer.state().t") == start + 1
    explorer.keyboard.press("ArrowRight")
    assert explorer.evaluate("explorer.state().start[0]") > PRESETS[0]["state"]["start"][0]
    t = explorer.evaluate("explorer.state().t")
    explorer.get_by_label("rule").first.focus()
    explorer.keyboard.press(",")
    assert explorer.evaluate("explorer.state().t") == t


def test_nothing_plays_by_itself_and_play_plays(browser):
    context = browser.new_context(reduced_motion="no-preference")
    page = context.new_page()
    page.goto(address(PAGE))
    page.wait_for_function("() => window.explorer?.frame")
    start = page.evaluate("explorer.state().t")
    page.wait_for_timeout(400)
    assert page.evaluate("explorer.state().t") == start
    page.get_by_role("button", name="Play", exact=True).click()
    page.wait_for_function(f"() => explorer.state().t > {start + 3}")
    page.get_by_role("button", name="Pause", exact=True).click()
    stopped = page.evaluate("explorer.state().t")
    page.wait_for_timeout(300)
    assert page.evaluate("explorer.state().t") == stopped
    assert f"Step {stopped} of" in page.locator("[role=status].visually-hidden").inner_text()
    context.close()


@pytest.mark.parametrize("mode", ["light", "dark"])
@pytest.mark.parametrize("size", ["desk", "phone"])
def test_no_barrier_with_everything_open(explorer, mode, size):
    if size == "phone":
        explorer.set_viewport_size(PHONE | {"width": 375})
    explorer.get_by_role("button", name=PRESETS[0]["answers"][2], exact=True).click()
    explorer.evaluate("document.querySelectorAll('.explorer details').forEach((d) => (d.open = true))")
    theme(explorer, mode)
    assert violations(explorer) == []
    assert explorer.evaluate("document.documentElement.scrollWidth <= innerWidth")


@pytest.mark.parametrize("width", [375, 1280])
def test_targets_are_44_pixels_high(explorer, width):
    explorer.set_viewport_size({"width": width, "height": 900})
    explorer.evaluate("document.querySelectorAll('.explorer details').forEach((d) => (d.open = true))")
    small = explorer.evaluate("""[...document.querySelectorAll('.explorer :is(button, select, summary, input[type=range])')]
      .filter((e) => e.offsetParent && e.getBoundingClientRect().height < 43.5).map((e) => e.outerHTML.slice(0, 80))""")
    assert small == []


def test_a_race_that_diverges_is_labelled_and_never_blank(explorer):
    lane = {"rule": "SGD", "p": {"lr": 1.0}, "clip": "none", "limit": 1}
    set_state(explorer, {"landscape": "valley", "lanes": [lane], "steps": 400, "t": 400})
    assert explorer.evaluate("explorer.frame(400)") == [None]
    assert "diverged at step" in explorer.locator(".readout").inner_text()
    colours = explorer.evaluate("""() => { const c = document.querySelector('.explorer canvas'), d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data;
      return new Set(Array.from({length: d.length / 4}, (_, k) => d[4 * k] * 65536 + d[4 * k + 1] * 256 + d[4 * k + 2])).size; }""")
    assert colours > 10


def test_axes_stay_until_they_are_fitted_anew(explorer):
    ticks = "[...document.querySelectorAll('[data-plot=step] .grid text')].map((e) => e.textContent).join()"
    before = explorer.evaluate(ticks)
    explorer.get_by_role("slider", name="learning rate").first.focus()
    for _ in range(4):
        explorer.keyboard.press("PageUp")
    assert explorer.evaluate(ticks) == before
    explorer.get_by_role("button", name="Refit axes").click()
    assert explorer.evaluate(ticks) != before


def test_exports_hold_the_race(explorer):
    with explorer.expect_download() as download:
        explorer.get_by_role("button", name="CSV").click()
    lines = download.value.path().read_text().splitlines()
    state = PRESETS[0]["state"]
    assert len(lines) == 1 + len(state["lanes"]) * (state["steps"] + 1)
    row = dict(zip(lines[0].split(","), lines[11].split(","), strict=True))
    assert float(row["rate1"]) * float(row["direction1"]) == pytest.approx(float(row["step1"]), rel=1e-12)
    with explorer.expect_download() as download:
        explorer.get_by_role("button", name="SVG").click()
    assert download.value.path().read_text().startswith("<svg")


def test_the_sweep_and_the_table_open(explorer):
    explorer.get_by_text("Loss against learning rate").click()
    explorer.wait_for_selector(".sweep polyline")
    assert explorer.locator(".sweep circle").count() >= 1
    explorer.get_by_text("The path as a table").click()
    explorer.wait_for_selector(".table-scroll tbody tr")


def test_print_shows_the_frame_and_no_controls(explorer):
    explorer.emulate_media(media="print")
    assert not explorer.locator(".transport").is_visible()
    assert explorer.locator("canvas.map").is_visible()
    assert explorer.locator("[data-plot=loss]").is_visible()


def test_without_scripts_there_is_a_picture(browser):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    for name in (PAGE, "chapters/index.html"):
        page.goto(address(name))
        picture = page.locator(".explorer img")
        assert picture.is_visible()
        assert len(picture.get_attribute("alt").split()) > 10
        assert (HTML / "_static" / "explorer_still.svg").is_file()
    context.close()


def test_the_strip_on_the_front_page_asks_and_answers(page):
    page.goto(address("chapters/index.html"))
    page.wait_for_function("() => window.explorer?.frame")
    address_before = page.url
    page.get_by_role("button", name=PRESETS[0]["answers"][0], exact=True).click()
    assert page.locator(".reveal").inner_text().startswith("Not so.")
    assert page.get_by_role("link", name="More in the explorer").get_attribute("href") == "explorer.html#preset=cliff"
    page.wait_for_timeout(500)
    assert page.url == address_before, "a strip leaves the address of its page alone"
