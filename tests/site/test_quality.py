"""What Lighthouse asks of a page, on those that a stranger opens first: metadata, weight, links, targets, best practices."""

import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from browsing import HTML, PHONE, address, page_names, settle

FIRST = ["chapters/index.html", "chapters/the_rules.html", "chapters/explorer.html", "chapters/ledger.html"]
#: Bytes of a page with its scripts, styles and pictures, as they lie on the disk; and the pages that load most.
HEAVIEST = 2_000_000
HEAVY = [
    "chapters/plateau_and_valley.html",
    "chapters/adversarial_training.html",
    "chapters/api_experiments.html",
    "search.html",
]

AUDIT = r"""() => {
  const all = (selector) => [...document.querySelectorAll(selector)], out = (e) => e.outerHTML.slice(0, 120);
  const named = (e) => (e.getAttribute('aria-label') || e.textContent || e.querySelector('img')?.alt || e.title || '').trim();
  const visible = (e) => e.getClientRects().length > 0;
  const ids = all('[id]').map((e) => e.id);
  return {
    doctype: document.doctype?.name,
    charset: document.characterSet,
    mode: document.compatMode,
    language: document.documentElement.lang,
    title: document.title,
    viewport: all('meta[name=viewport]').map((e) => e.content),
    robots: all('meta[name=robots]').map((e) => e.content),
    headings: all('h1').filter(visible).length,
    'links without a name': all('a[href]').filter((e) => visible(e) && !named(e)).map(out),
    'links that say nothing': all('a[href]').filter((e) => /^(click here|here|this|link|more)$/i.test(named(e))).map(out),
    'links that no crawler follows': all('a[href^="javascript:"]').map(out),
    'addresses without encryption': all('[src^="http:"], a[href^="http:"], link[href^="http:"], script[src^="http:"]').map(out),
    'pictures without size or words': all('img').filter((e) => !e.hasAttribute('alt')).map(out),
    'fields without a label': all('input:not([type=hidden]), select, textarea').filter((e) => visible(e) && !e.labels?.length && !e.getAttribute('aria-label') && !e.getAttribute('aria-labelledby')).map(out),
    'identifiers used twice': ids.filter((id, k) => ids.indexOf(id) !== k),
    'old elements': all('font, center, marquee, applet, frame').map(out),
    'pasting forbidden': all('[onpaste]').map(out),
    'unsized text': all('.bd-article p').filter((e) => visible(e) && parseFloat(getComputedStyle(e).fontSize) < 11).map(out),
  };
}"""

# Two targets of less than 24 pixels must lie apart (WCAG 2.5.8); links within a sentence are exempt.
SMALL = r"""() => [...document.querySelectorAll('button, select, summary, input:not([type=hidden]), a[href]')].filter((e) => {
  const box = (e.closest('label') ?? e).getBoundingClientRect(), style = getComputedStyle(e);
  if (!box.width || !box.height || box.bottom < 0 || style.visibility === 'hidden' || e.closest('p, li, td, dd, dt, th, figcaption, h1, h2, h3, h4, .bd-article .output')) return false;
  return Math.min(box.width, box.height) < 24;
}).map((e) => e.outerHTML.slice(0, 120))"""

FAULTS = (
    "links without a name", "links that say nothing", "links that no crawler follows", "addresses without encryption",
    "pictures without size or words", "fields without a label", "identifiers used twice", "old elements",
    "pasting forbidden", "unsized text",
)  # fmt: skip


@pytest.fixture(scope="module")
def audited(context):
    """audited(name): what the audit says of a page, and the files that it loads."""
    seen = {}

    def once(name):
        if name not in seen:
            page, loaded = context.new_page(), set()
            page.on("request", lambda r: loaded.add(r.url))
            page.goto(address(name))
            settle(page)
            report = page.evaluate(AUDIT)
            page.set_viewport_size(PHONE)
            report["small"] = page.evaluate(SMALL)
            page.close()
            seen[name] = report, loaded
        return seen[name]

    return once


@pytest.mark.parametrize("first", FIRST)
def test_a_page_is_sound_html_that_says_what_it_is(audited, first):
    report, _ = audited(first)
    assert (report["doctype"], report["charset"], report["mode"]) == ("html", "UTF-8", "CSS1Compat")
    assert report["language"] == "en"
    assert 10 < len(report["title"]) < 90
    assert len(report["viewport"]) == 1
    assert "width=device-width" in report["viewport"][0]
    assert not re.search(r"user-scalable=no|maximum-scale=[1-4]\b", report["viewport"][0]), "readers may zoom"
    assert report["robots"] == [], "nothing keeps search engines away"
    assert report["headings"] == 1


@pytest.mark.parametrize("first", FIRST)
@pytest.mark.parametrize("fault", FAULTS)
def test_a_page_has_no_fault_that_lighthouse_counts(audited, first, fault):
    assert audited(first)[0][fault] == []


@pytest.mark.parametrize("first", FIRST)
def test_targets_outside_of_sentences_are_24_pixels_on_a_phone(audited, first):
    assert audited(first)[0]["small"] == []


@pytest.mark.parametrize("first", FIRST + HEAVY)
def test_a_page_with_all_that_it_loads_weighs_at_most_two_megabytes(audited, first):
    files = {Path(unquote(urlsplit(url).path)) for url in audited(first)[1] if url.startswith("file:")}
    weights = {file.name: file.stat().st_size for file in files}
    assert sum(weights.values()) <= HEAVIEST, sorted(weights.items(), key=lambda w: -w[1])[:5]


def test_no_page_alone_is_heavier_than_two_megabytes():
    heavy = {name: size for name in page_names() if (size := (HTML / name).stat().st_size) > HEAVIEST}
    assert heavy == {}


BROKEN = """<!doctype html><html><head><meta name="robots" content="noindex"></head><body class="bd-article"><h1>A</h1><h1>B</h1>
<a href="x.html"></a><a href="y.html">click here</a><a href="javascript:void 0">go</a><img src="http://127.0.0.1:9/a.png">
<input type="text"><p id="a" style="font-size:6px">tiny</p><p id="a">twice</p><font>old</font><div onpaste="return false">no</div>
<button style="width:9px;height:9px;padding:0;border:0">x</button></body></html>"""


def test_the_audit_notices_every_fault(context, tmp_path):
    (tmp_path / "broken.html").write_text(BROKEN, encoding="utf-8")
    page = context.new_page()
    page.goto((tmp_path / "broken.html").as_uri())
    report = page.evaluate(AUDIT)
    assert [fault for fault in FAULTS if not report[fault]] == []
    assert (report["language"], report["title"], report["headings"], report["viewport"]) == ("", "", 2, [])
    assert report["robots"] == ["noindex"]
    assert any("9px" in element for element in page.evaluate(SMALL))
    page.close()
