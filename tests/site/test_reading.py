"""What a reader does with a page: follow a deep link, print, look at a figure on a phone, search, download."""

import json
import random
import re
from concurrent.futures import ThreadPoolExecutor
from html.parser import HTMLParser
from urllib.parse import urlsplit

import pytest

from browsing import HTML, address, contrast, page_names, settle, theme
from companion.build import pdf
from companion.build.downloads import OPENING, ROLE
from companion.build.sphinx_site import Excerpts

PAGES = [name for name in page_names() if name.startswith("chapters/")]


class Document(HTMLParser):
    """The elements of a page with their attributes, and the names of those in the article that have an id."""

    def __init__(self, name):
        super().__init__(convert_charrefs=True)
        text = (HTML / name).read_text(encoding="utf-8")
        self.elements, self.anchors = [], []
        self.feed(text)
        head, self.elements = self.elements, []
        self.feed(text.partition('<article class="bd-article">')[2].partition("</article>")[0])
        self.anchors = [attrs["id"] for _, attrs in self.elements if attrs.get("id")]
        self.elements = head

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def meta(self, key, name):
        return [a.get("content") for tag, a in self.elements if tag == "meta" and a.get(key) == name]


# ---------------------------------------------------------------- deep links

PLACE = """id => {
  const e = document.getElementById(id), box = e.getBoundingClientRect(), root = document.documentElement;
  const wanted = parseFloat(getComputedStyle(root).scrollPaddingTop) + parseFloat(getComputedStyle(e).scrollMarginTop);
  const end = innerHeight + scrollY >= root.scrollHeight - 2;
  return [box.top - wanted, end && box.top < innerHeight, e.getClientRects().length];
}"""


@pytest.mark.parametrize("width", [1280, 375])
def test_each_of_50_random_deep_links_lands_within_40_pixels_of_its_target(browser, width):
    links = [(name, anchor) for name in PAGES for anchor in Document(name).anchors]
    context = browser.new_context(viewport={"width": width, "height": 850})
    missed, landed = [], 0
    for name, anchor in random.Random(width).sample(links, len(links)):
        page = context.new_page()
        page.goto(f"{address(name)}#{anchor}")
        settle(page)
        page.wait_for_timeout(200)
        distance, at_the_end, drawn = page.evaluate(PLACE, anchor)
        page.close()
        if not drawn:  # as the explorer's parts of another mode
            continue
        if abs(distance) > 40 and not at_the_end:
            missed.append(f"{name}#{anchor}: {distance:.0f} px")
        landed += 1
        if landed == 50:
            break
    context.close()
    assert missed == []
    assert landed == 50


def test_a_reader_who_scrolls_is_left_alone(browser):
    name = "chapters/notation.html"
    page = browser.new_page(viewport={"width": 1280, "height": 850})
    page.goto(f"{address(name)}#{Document(name).anchors[-1]}", wait_until="commit")
    page.wait_for_function("() => document.readyState !== 'loading'")
    page.evaluate("() => { dispatchEvent(new WheelEvent('wheel')); scrollTo({ top: 0, behavior: 'instant' }); }")
    settle(page)
    page.wait_for_timeout(300)
    assert page.evaluate("() => scrollY") == 0
    page.close()


# ---------------------------------------------------------------- print


def brightness(page, selector, property):
    return page.eval_on_selector(
        selector, f"e => getComputedStyle(e).{property}.match(/[0-9.]+/g).slice(0, 3).reduce((a, c) => a + +c, 0) / 765"
    )


def test_a_dark_page_is_printed_in_light_colours_and_stays_dark(page):
    page.goto(address("chapters/the_rules.html"))
    settle(page)
    theme(page, "dark")
    assert brightness(page, ".bd-article h1", "color") > 0.7
    page.emulate_media(media="print")
    page.wait_for_function("() => document.documentElement.dataset.theme === 'light'")
    for selector in (".bd-article h1", ".bd-article p", ".bd-article .highlight pre"):
        assert brightness(page, selector, "color") < 0.4
    page.emulate_media(media="screen")
    page.wait_for_function("() => document.documentElement.dataset.theme === 'dark'")
    page.evaluate("() => localStorage.clear()")


def test_paper_shows_numbers_whole_code_and_solutions_and_nothing_that_only_a_screen_can_use(page):
    page.goto(address("chapters/the_rules.html"))
    settle(page)
    page.set_viewport_size({"width": 700, "height": 900})
    page.emulate_media(media="print")
    assert page.locator(".bd-article h1 .section-number").first.is_visible()
    assert page.locator("#jb-print-docs-body").is_hidden()
    assert page.locator("details.hide > summary:visible, button.copybtn:visible, .bd-sidebar:visible").count() == 0
    assert page.locator(".bd-article details.sd-dropdown:not([open])").count() == 0
    cut = "e => e.filter(p => p.offsetParent && p.scrollWidth > p.clientWidth + 1).map(p => p.textContent.slice(0, 60))"
    assert page.eval_on_selector_all(".bd-article .highlight pre", cut) == []


def test_the_joined_book_has_every_page_each_identifier_once_and_no_link_that_leads_nowhere():
    names = pdf.order(HTML)
    assert sorted(names) == PAGES
    text = pdf.joined({name: (HTML / name).read_text(encoding="utf-8") for name in names})
    ids = re.findall(r'<[^>]* id="([^"]+)"', text)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'<a [^>]*href="#([^"]+)"', text)) <= {*ids, ""}


def test_a_book_of_two_pages_is_printed(browser, tmp_path, monkeypatch):
    monkeypatch.setattr(pdf, "order", lambda html: [pdf.FRONT, "chapters/notation.html"])
    with ThreadPoolExecutor() as other:  # this thread has a browser already, and Playwright allows one a thread
        assert other.submit(pdf.write, HTML, tmp_path / "book.pdf").result() == 2
    printed = (tmp_path / "book.pdf").read_bytes()
    assert printed.startswith(b"%PDF")
    assert len(printed) > 50_000


# ---------------------------------------------------------------- figures on a phone


def test_no_figure_is_wider_than_a_phone_and_a_tap_opens_it_large(browser, name):
    page = browser.new_page(viewport={"width": 375, "height": 812})
    page.goto(address(name))
    settle(page)
    images = page.locator("a.enlarge img")
    for left, right, width in images.evaluate_all(
        "e => e.map(i => [i.getBoundingClientRect().left, i.getBoundingClientRect().right, innerWidth])"
    ):
        assert left >= 0
        assert right <= width
    if images.count():
        images.first.click()
        page.wait_for_function("document.querySelector('dialog.figure-large[open] img')?.complete")
        assert page.locator("dialog.figure-large[open] img").bounding_box()["width"] > 2 * 375
        page.keyboard.press("Escape")
        page.wait_for_function("document.querySelector('dialog') === null")  # its closing is an event of its own
    page.close()


@pytest.mark.parametrize("width", [375, 1280])
@pytest.mark.parametrize("chapter", ["adversarial_training", "quasi_newton"])
def test_a_formula_fits_its_line_and_keeps_its_comma(browser, chapter, width):
    page = browser.new_page(viewport={"width": width, "height": 812})
    page.goto(address(f"chapters/{chapter}.html"))
    settle(page)
    page.wait_for_timeout(300)
    broken = "e => e.filter(k => k.offsetParent && k.getClientRects().length > 1).map(k => k.textContent)"
    assert page.locator(".kept").count() > 10
    assert page.eval_on_selector_all(".kept", broken) == []
    wide = """e => e.filter(f => { const box = f.closest('p, li, dd'); return box && !f.closest('table, details:not([open])')
      && f.querySelector('svg').getBoundingClientRect().right > box.getBoundingClientRect().right + 8; }).map(f => f.textContent)"""
    assert page.eval_on_selector_all(".bd-article mjx-container:not([display])", wide) == []
    page.close()


def test_words_of_the_notation_are_whole_on_a_phone(browser):
    page = browser.new_page(viewport={"width": 375, "height": 812})
    page.goto(address("chapters/notation.html"))
    settle(page)
    broken = "e => e.filter(c => c.getClientRects().length > 1).map(c => c.textContent)"
    assert page.eval_on_selector_all("td code", broken) == []
    page.close()


# ---------------------------------------------------------------- search engines and search


def test_every_page_describes_itself_and_has_one_viewport(name):
    page = Document(name)
    assert len(page.meta("name", "viewport")) == 1
    if name == "search.html":
        return
    (description,) = page.meta("name", "description")
    assert 20 < len(description) <= 160
    if name in PAGES:
        assert page.meta("property", "og:description") == [description]
        assert len(page.meta("property", "og:title")[0]) > 3
        (image,) = page.meta("property", "og:image")
        assert (HTML / name).parent.joinpath(image).resolve().is_file() or urlsplit(image).scheme == "https"


def test_descriptions_differ_from_page_to_page():
    said = [Document(name).meta("name", "description")[0] for name in PAGES]
    assert len(set(said)) == len(said)


def test_canonical_addresses_and_the_sitemap_come_with_the_sites_address():
    links = [a for name in PAGES for tag, a in Document(name).elements if tag == "link" and a.get("rel") == "canonical"]
    assert len(links) == (len(PAGES) if (HTML / "sitemap.xml").is_file() else 0)


def test_the_root_and_a_missing_page_lead_to_the_front_page(page):
    page.goto(address("404.html"))
    assert page.locator("h1").count() == 1
    page.locator("a").first.click()
    page.wait_for_url("**/chapters/index.html")
    assert any(a.get("href") == "chapters/index.html" for _, a in Document("index.html").elements)


def test_the_search_finds_a_claim_by_its_name_and_shows_an_excerpt_from_the_disk(page):
    page.goto(address("search.html") + "?q=P4")
    page.wait_for_function("() => document.querySelector('#search-results').innerText.includes('finished')")
    hits = page.locator("#search-results ul.search li")
    links = [hits.nth(i).locator("a").get_attribute("href") for i in range(2)]
    assert links == ["chapters/plateau_and_valley.html#claim-P4", "chapters/ledger.html#ledger-P4"]
    page.wait_for_function("() => document.querySelectorAll('#search-results li p.context').length >= 2")
    assert hits.first.locator("p.context").inner_text().startswith("P4")


def test_excerpts_hold_the_text_of_every_page():
    folder = HTML / "_static" / "excerpts"
    names = sorted(path.relative_to(folder).with_suffix("").as_posix() for path in folder.rglob("*.js"))
    assert [f"{name}.html" for name in names] == PAGES
    data = (folder / f"{names[0]}.js").read_text(encoding="utf-8")
    text = (HTML / PAGES[0]).read_text(encoding="utf-8")
    assert json.loads(data.removeprefix(f'excerpts["{names[0]}"] = ').removesuffix(";\n")) == Excerpts(text).parts


# ---------------------------------------------------------------- downloads


def test_downloaded_notebooks_hold_plain_markdown():
    paths = sorted((HTML / "_sources").rglob("*"))
    notebooks = [path for path in paths if path.suffix == ".ipynb"]
    assert notebooks
    assert [path for path in paths if path.is_file() and path.suffix != ".ipynb"] == []
    for path in notebooks:
        for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
            if cell["cell_type"] == "markdown":
                text = "".join(cell["source"])
                left = [*ROLE.findall(text), *OPENING.findall(text), *re.findall(r"(?m)^\([\w-]+\)=", text)]
                left += re.findall(r"<no title>|:\w+:`[^`]+`", text)
                assert left == [], f"{path.name}, cell {cell['id']}"


# ---------------------------------------------------------------- exercises that check themselves


def test_a_field_tells_a_right_answer_from_a_wrong_one_and_from_no_number_by_keyboard(page):
    page.goto(address("chapters/the_rules.html"))
    field = page.locator(".check").first
    answer, within = (float(field.get_attribute(f"data-{name}")) for name in ("answer", "within"))
    said = field.locator("output")
    field.get_by_label("first step").focus()
    for typed, expected in (
        (f"{answer + 2 * within + 1:g}", "is not it yet."),
        (f"{-answer:g}", "is not it yet."),
        ("ten", "Enter a number."),
        ("", "Enter a number."),
        (f"{answer:,.3f}", "is right."),
        (f"{answer + within:.17g}", "is right."),
    ):
        page.keyboard.press("Control+a")
        page.keyboard.press("Delete")
        page.keyboard.type(typed)
        page.keyboard.press("Enter")
        assert said.inner_text().endswith(expected), typed
    page.keyboard.press("Control+a")
    page.keyboard.type("1e9")
    page.keyboard.press("Tab")
    page.keyboard.press("Space")  # the button
    assert said.inner_text() == "1e9 is not it yet."
    page.emulate_media(media="print")
    assert field.is_hidden()


def test_without_scripts_no_field_waits_for_an_answer(browser):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(address("chapters/the_rules.html"))
    assert page.locator(".check").count() >= 2
    assert page.locator(".check:visible").count() == 0
    context.close()


# ---------------------------------------------------------------- hover cards


TERM = ".bd-article a[href='glossary.html#term-effective-learning-rate']"
CARD = "#hover-card"


@pytest.fixture
def chapter(page):
    """The first chapter, with what it asked for and complained of in `page.seen`."""
    page.seen = []
    page.on("request", lambda r: None if r.url.startswith(("file:", "data:", "blob:")) else page.seen.append(r.url))
    page.on("console", lambda m: page.seen.append(m.text) if m.type in ("error", "warning") else None)
    page.on("pageerror", lambda e: page.seen.append(str(e)))
    page.goto(address("chapters/the_rules.html"))
    settle(page)
    yield page
    assert page.seen == []


def test_a_card_opens_under_the_pointer_can_be_entered_and_leaves_with_it_or_by_escape(chapter):
    link, card = chapter.locator(TERM).first, chapter.locator(CARD)
    link.hover()
    card.wait_for(state="visible")
    assert card.inner_text().startswith("effective learning rate")
    assert link.get_attribute("aria-describedby") == "hover-card"
    card.hover()
    chapter.wait_for_timeout(600)
    assert card.is_visible(), "a card that is entered stays"
    chapter.keyboard.press("Escape")
    card.wait_for(state="detached")
    assert link.get_attribute("aria-describedby") is None
    chapter.mouse.move(5, 5)
    link.hover()
    card.wait_for(state="visible")
    chapter.mouse.move(5, 5)
    card.wait_for(state="detached")


def test_a_card_opens_with_the_focus_of_the_keyboard_and_closes_when_it_moves_on(chapter):
    card = chapter.locator(CARD)
    chapter.keyboard.press("Tab")  # so that what follows counts as done by keyboard
    chapter.locator(TERM).first.focus()
    card.wait_for(state="visible")
    chapter.keyboard.press("Escape")
    card.wait_for(state="detached")
    assert chapter.evaluate("document.activeElement.hash") == "#term-effective-learning-rate"
    chapter.keyboard.press("Tab")
    card.wait_for(state="visible")  # the next link leads to a term, too
    assert card.inner_text().startswith("step")


def test_works_and_propositions_have_cards_with_drawn_formulas(chapter):
    card = chapter.locator(CARD)
    chapter.locator(".bd-article a[href^='references.html#']").first.hover()
    card.wait_for(state="visible")
    assert "A stochastic approximation method" in card.inner_text()
    chapter.mouse.move(5, 5)
    card.wait_for(state="detached")
    chapter.locator(".bd-article a[href='#the-rules-prop-constant']").first.hover()
    card.wait_for(state="visible")
    chapter.locator(f"{CARD} mjx-container").first.wait_for()
    assert "constant gradient" in card.inner_text()


@pytest.mark.parametrize("mode", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 375])
def test_an_open_card_is_on_the_screen_and_no_barrier(chapter, mode, width):
    chapter.set_viewport_size({"width": width, "height": 800})
    theme(chapter, mode)
    chapter.keyboard.press("Tab")
    chapter.locator(".bd-article a[href='#the-rules-prop-constant']").first.focus()
    chapter.locator(f"{CARD} mjx-container").first.wait_for()
    box = chapter.locator(CARD).bounding_box()
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= width
    assert contrast(chapter) == []
