"""What a browser sees on a page of the built book."""

import os
from dataclasses import dataclass, field
from pathlib import Path

HTML = Path(os.environ.get("STEPSIZE_HTML", Path(__file__).parents[1] / "_build" / "html"))
PHONE = {"width": 390, "height": 844}


def page_names() -> list[str]:
    """Every page of the site that a reader can open, relative to its root."""
    return sorted(p.relative_to(HTML).as_posix() for p in HTML.rglob("*.html") if "_static" not in p.parts)


@dataclass
class Visit:
    """What a browser saw on one page."""

    foreign: list[str] = field(default_factory=list)
    console: list[str] = field(default_factory=list)
    violations: dict[str, list[str]] = field(default_factory=dict)
    pictures: list[list[str]] = field(default_factory=list)
    raw_maths: list[str] = field(default_factory=list)
    too_wide: list[str] = field(default_factory=list)
    unreachable: list[str] = field(default_factory=list)


def address(name: str) -> str:
    return (HTML / name).as_uri()


def settle(page) -> None:
    """Wait until the formulas are drawn."""
    page.wait_for_function(
        "() => !document.querySelector('script[src*=mathjax]') || window.MathJax?.startup?.promise"
        "?.then(() => window.formulasDrawn = true) && window.formulasDrawn"
    )


def theme(page, name: str) -> None:
    page.evaluate(
        "t => { document.documentElement.dataset.theme = t; document.documentElement.dataset.mode = t }", name
    )


#: Rules that axe does not switch on by itself: what a button says is in its name; targets of 24 pixels.
FURTHER = {"label-content-name-mismatch": {"enabled": True}, "target-size": {"enabled": True}}
BUT_CONTRAST = {"rules": {"color-contrast": {"enabled": False}} | FURTHER}


def violations(page, rules: dict | None = None, only: str = "html", without: str | None = None) -> list[str]:
    """axe-core's findings of impact serious or critical, one line each, in what `only` matches; `without` leaves something out."""
    from axe_playwright_python.sync_playwright import Axe

    place = {"include": [[only]]} | ({"exclude": [[without]]} if without else {})
    options = {"resultTypes": ["violations"], "preload": False} | (rules or {})
    return [
        f"{v['id']} ({v['impact']}): {node['target']} {node['html'][:160]}"
        for v in Axe().run(page, context=place, options=options).response["violations"]
        if v["impact"] in ("serious", "critical")
        for node in v["nodes"]
    ]


# Marks three elements of each look: colour, size and weight of the words, and all backgrounds down to the first opaque one.
# axe needs a minute for the contrast of a page of 30,000 elements, nearly all of which look like another.
SAMPLE = r"""() => {
  document.querySelectorAll('[data-sample]').forEach(e => e.removeAttribute('data-sample'));
  const met = new Map(), walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const words = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || !words.checkVisibility({visibilityProperty: true})) continue;
    const own = getComputedStyle(words), look = [own.color, own.fontSize, own.fontWeight, own.textShadow];
    for (let e = words; e; e = e.parentElement) {
      const s = getComputedStyle(e);
      look.push(s.opacity, s.backgroundImage, s.backgroundColor);
      if (/^rgb\(/.test(s.backgroundColor)) break;
    }
    const key = look.filter(l => !['1', 'none', 'rgba(0, 0, 0, 0)'].includes(l)).join();
    met.set(key, (met.get(key) ?? 0) + 1);
    if (met.get(key) <= 3) words.dataset.sample = '';
  }
}"""


def contrast(page) -> list[str]:
    """axe-core's findings on the contrast of words, by three samples of each look on the page."""
    page.evaluate(SAMPLE)
    return violations(page, {"runOnly": ["color-contrast"]}, only="[data-sample]")


# What stays unrendered: a dollar or a backslash command in running text, or a formula that MathJax marks as an error
# or for which its font, lightened by the build, lacks a glyph.
RAW_MATHS = r"""() => {
  const found = [...document.querySelectorAll('mjx-container [data-mjx-error], mjx-merror, mjx-container svg text')].map(e => e.textContent.slice(0, 80));
  const walker = document.createTreeWalker(document.querySelector('.bd-article') ?? document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const parent = walker.currentNode.parentElement;
    if (parent.closest('pre, code, script, style, mjx-container, textarea')) continue;
    const hit = walker.currentNode.data.match(/\$\$|\\\(|\\\[|\\(begin|frac|sqrt|sum|alpha|beta|mathbb|mathrm)\b/);
    if (hit) found.push(walker.currentNode.data.slice(0, 80));
  }
  return found;
}"""

# What sticks out of a phone's screen and is in no box that scrolls.
TOO_WIDE = r"""() => {
  if (document.documentElement.scrollWidth <= innerWidth) return [];
  const scrolls = e => { for (; e; e = e.parentElement) { if (['auto', 'scroll', 'hidden', 'clip'].includes(getComputedStyle(e).overflowX) && e !== document.body && e !== document.documentElement) return true; } return false; };
  const out = [...document.body.querySelectorAll('*')].filter(e => e.getBoundingClientRect().right > innerWidth + 1 && !scrolls(e.parentElement));
  return out.slice(0, 5).map(e => e.outerHTML.slice(0, 120)).concat([`the page is ${document.documentElement.scrollWidth} px wide`]);
}"""

# Boxes that scroll sideways but that a keyboard cannot enter.
UNREACHABLE = r"""() => [...document.querySelectorAll('.bd-article *')].filter(e =>
    ['auto', 'scroll'].includes(getComputedStyle(e).overflowX) && e.scrollWidth > e.clientWidth + 1 && e.clientWidth > 0
    && e.tabIndex < 0 && !e.closest('details:not([open])')).map(e => e.outerHTML.slice(0, 120))"""


def look(context, name: str) -> Visit:
    """Open a page, look at it in light, in dark and on a phone, close it."""
    report, page = Visit(), context.new_page()
    page.on(
        "request", lambda r: None if r.url.startswith(("file:", "data:", "blob:")) else report.foreign.append(r.url)
    )
    page.on("console", lambda m: report.console.append(m.text) if m.type in ("error", "warning") else None)
    page.on("pageerror", lambda e: report.console.append(str(e)))
    page.on("requestfailed", lambda r: report.console.append(f"failed: {r.url}"))
    page.goto(address(name))
    settle(page)
    report.pictures = page.evaluate(
        "() => [...document.images].map(i => [i.getAttribute('src'), i.getAttribute('alt') ?? '', i.getAttribute('role') ?? '', String(i.complete && i.naturalWidth)])"
    )
    report.raw_maths = page.evaluate(RAW_MATHS)
    page.evaluate("() => document.querySelectorAll('details').forEach(d => d.open = true)")
    theme(page, "light")
    report.violations["light"] = violations(page, BUT_CONTRAST) + contrast(page)
    theme(page, "dark")  # only colours differ
    report.violations["dark"] = contrast(page)
    page.set_viewport_size(PHONE)
    page.wait_for_timeout(150)
    theme(page, "light")
    report.violations["phone"] = violations(page, BUT_CONTRAST)
    report.too_wide = page.evaluate(TOO_WIDE)
    report.unreachable = page.evaluate(UNREACHABLE)
    page.close()
    return report
