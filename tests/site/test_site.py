"""The built book as a reader meets it: from the disk, without network, in light and dark, on a phone, by keyboard."""

import json
import re
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

from browsing import HTML, address, look, page_names, settle
from companion.build.site import problems


def test_a_page_asks_no_other_host_for_anything(name, visit):
    assert visit(name).foreign == []


def test_a_page_loads_without_errors_or_warnings_on_the_console(name, visit):
    assert visit(name).console == []


def test_a_page_has_no_serious_accessibility_violation_in_light_in_dark_or_on_a_phone(name, visit):
    assert visit(name).violations == {"light": [], "dark": [], "phone": []}


def test_every_picture_loads_and_is_described_in_words(name, visit):
    for source, text, role, width in visit(name).pictures:
        assert width not in ("0", "false"), f"{source} does not load"
        if role != "presentation":
            assert len(text.split()) >= 3, f"{source} has the alternative text {text!r}"
            assert PurePosixPath(unquote(urlsplit(source).path)).name not in text


def test_every_formula_is_drawn(name, visit):
    assert visit(name).raw_maths == []


def test_a_page_fits_a_phone_of_390_pixels(name, visit):
    assert visit(name).too_wide == []


def test_what_scrolls_sideways_can_be_reached_by_keyboard(name, visit):
    assert visit(name).unreachable == []


def test_no_link_or_anchor_is_dead(browser):
    assert problems(HTML) == []


def test_formulas_are_drawn_as_pictures_where_there_are_formulas(page):
    page.goto(address("chapters/notation.html"))
    settle(page)
    assert page.locator("mjx-container svg").count() > 10


def test_the_root_leads_to_the_front_page(page):
    page.goto(address("index.html"))
    page.wait_for_url("**/chapters/index.html")
    assert page.locator(".bd-article h1").count() == 1


def test_search_from_the_disk_finds_a_word_and_the_hit_opens(page):
    loud = []
    page.on("console", lambda m: loud.append(m.text) if m.type == "error" else None)
    page.goto(address("search.html") + "?q=preconditioner")
    hit = page.locator("#search-results ul.search li a").first
    hit.wait_for(timeout=15_000)
    page.wait_for_function("() => document.querySelector('#search-results').innerText.includes('finished')")
    assert loud == []
    hit.click()
    page.wait_for_url("**/chapters/*")
    assert "preconditioner" in page.locator(".bd-article").inner_text().lower()


def test_search_can_be_started_from_any_page_by_keyboard(page):
    page.goto(address("chapters/notation.html"))
    page.keyboard.press("Control+k")
    page.keyboard.type("learning rate")
    page.keyboard.press("Enter")
    page.locator("#search-results ul.search li a").first.wait_for(timeout=15_000)


def focus_stops(page, limit=60):
    """Names of what the tab key visits, in order."""
    for _ in range(limit):
        page.keyboard.press("Tab")
        yield page.evaluate(
            "() => { const e = document.activeElement; const r = e.getBoundingClientRect();"
            " return [e.className, e.getAttribute('aria-label') ?? e.innerText ?? '', r.width * r.height, !!e.closest('.bd-article')] }"
        )


def test_tab_reaches_search_theme_switch_and_the_first_link_of_the_text(page):
    page.goto(address("chapters/index.html"))
    settle(page)
    seen = []
    for classes, name, area, in_text in focus_stops(page):
        seen.append((classes, name))
        if in_text:
            assert area > 0
            break
    classes = " ".join(c for c, _ in seen)
    assert "search-button" in classes
    assert "theme-switch-button" in classes
    assert seen[0][1].startswith("Skip to main content")
    assert in_text, f"60 stops and no link of the text: {seen}"


def test_the_theme_switch_works_by_keyboard_and_is_remembered(page):
    page.goto(address("chapters/index.html"))
    switch = page.locator(".theme-switch-button").first
    switch.focus()
    modes = set()
    for _ in range(3):
        page.keyboard.press("Enter")
        modes.add(page.evaluate("() => document.documentElement.dataset.mode"))
    assert modes == {"light", "dark", "auto"}
    while page.evaluate("() => document.documentElement.dataset.mode") != "dark":
        page.keyboard.press("Enter")
    page.goto(address("chapters/glossary.html"))
    assert page.evaluate("() => document.documentElement.dataset.theme") == "dark"
    page.evaluate("() => localStorage.clear()")


def test_every_chapter_offers_its_executed_notebook(page):
    offered = 0
    for name in page_names():
        if name == "index.html":  # it only leads on to the front page
            continue
        page.goto(address(name), wait_until="domcontentloaded")
        for link in page.locator("a.btn-download-source-button").evaluate_all("e => e.map(a => a.href)"):
            if link.endswith(".ipynb"):
                path = HTML / urlsplit(link).path.split(HTML.name + "/", 1)[1]
                cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
                assert any(cell.get("outputs") for cell in cells), f"{name}: {path.name} was not executed"
                offered += 1
    assert offered > 0


def test_the_picture_in_the_readme_shows_the_verdicts_of_the_book(browser):
    def words(path):
        return [text for text in re.findall(r"<text[^>]*>([^<]*)</text>", path.read_text(encoding="utf-8")) if text]

    built, shown = HTML.parent / "ledger" / "verdicts.svg", Path(__file__).parents[2] / ".github" / "verdicts.svg"
    assert words(shown) == words(built), "copy _build/ledger/verdicts.svg to .github/verdicts.svg"


def test_the_ledger_is_filtered_by_verdict_and_by_words_and_sorted_by_keyboard(page):
    page.goto(address("chapters/ledger.html"))
    rows, shown = page.locator(".ledger-row"), page.locator(".ledger-row:visible")
    claims = rows.evaluate_all("e => e.map(row => row.id)")
    for verdict in page.locator(".ledger-tools [name=verdict] option").evaluate_all("e => e.map(o => o.value)")[1:]:
        page.locator(".ledger-tools [name=verdict]").select_option(verdict)
        assert set(shown.evaluate_all("e => e.map(row => row.dataset.verdict)")) == {verdict}
        assert page.locator(".ledger-tools output").inner_text() == f"{shown.count()} of {len(claims)} claims"
    page.locator(".ledger-tools [name=verdict]").select_option("")
    some = claims[-1].removeprefix("ledger-")
    page.locator(".ledger-tools [name=words]").focus()
    page.keyboard.type(some.lower())
    assert some in shown.evaluate_all("e => e.map(row => row.id.slice(7))")
    page.keyboard.type(" no such word")
    assert shown.count() == 0
    assert page.locator(".ledger-none").is_visible()
    page.locator(".ledger-tools [name=words]").fill("")
    page.locator(".ledger-tools [name=sort]").select_option("margin")
    places = shown.evaluate_all("e => e.map(row => Number(row.getAttribute('data-by-margin')))")
    assert places == sorted(places)
    assert len(places) == len(claims)
    page.locator(".ledger-tools [name=sort]").select_option("")
    assert rows.evaluate_all("e => e.map(row => row.id)") == claims


def test_an_address_chooses_rows_of_the_ledger_and_unfolds_one(page):
    page.goto(address("chapters/ledger.html") + "?verdict=holds")
    assert set(page.locator(".ledger-row:visible").evaluate_all("e => e.map(r => r.dataset.verdict)")) == {"holds"}
    last = page.locator(".ledger-row").last.get_attribute("id")
    page.goto(address("chapters/ledger.html") + "#" + last)
    assert page.locator(f"#{last} > details").evaluate("e => e.open")
    assert page.locator(f"#{last} .ledger-body").is_visible()


def test_every_tile_of_the_front_page_leads_to_a_card(page):
    page.goto(address("chapters/index.html"))
    links = page.locator("a.tile").evaluate_all("e => e.map(a => a.getAttribute('href'))")
    assert links
    page.locator("a.tile").first.click()
    page.locator(f".verdict-card#{links[0].partition('#')[2]}").wait_for(state="visible")


BROKEN = """<!doctype html><html lang="en" data-theme="light"><title>Broken</title><body><main class="bd-article"><h1>Broken</h1>
<img src="https://example.invalid/a.png" alt="a picture elsewhere"><img src="missing.png" alt="missing.png">
<p>words</p><p>words</p><p>words</p><p style="color:#ccc;background:#fff">pale words</p><div style="background:#333"><p>drowned words</p></div><p>raw $$ and \\frac{1}{2}</p><div style="width:800px">wide</div>
<div style="overflow-x:auto;width:100px"><div style="width:300px">scrolls</div></div>
<script>console.error("loud"); throw new Error("thrown");</script></main></body></html>"""


def test_a_broken_page_is_noticed_in_every_respect(context, tmp_path):
    (tmp_path / "broken.html").write_text(BROKEN, encoding="utf-8")
    seen = look(context, str(tmp_path / "broken.html"))
    assert seen.foreign == ["https://example.invalid/a.png"]
    assert any("loud" in line for line in seen.console)
    assert any("thrown" in line for line in seen.console)
    for mode in ("light", "dark"):
        pale = [line for line in seen.violations[mode] if "color-contrast" in line]
        assert ["pale words" in line for line in pale] == [True, False]
        assert ["drowned words" in line for line in pale] == [False, True]
    assert ["missing.png", "missing.png", "", "0"] in seen.pictures
    assert len(seen.raw_maths) == 1
    assert seen.too_wide
    assert seen.unreachable
