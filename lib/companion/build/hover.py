"""Hover cards: what a link to a term or a proposition leads to, laid into the page that links to it.

A page that is opened from the disk may not fetch another, so each page carries the texts that its own links need. Works
cited need none: their entry is the title of the link.
"""

import json
import posixpath
import re
from pathlib import Path

TERM = re.compile(r'<dt id="(term-[^"]+)">(.*?)</dt>\s*<dd>(.*?)</dd>', re.DOTALL)
PROOF = re.compile(r'<div class="proof [^"]*admonition" id="([^"]+)">(.*?</section>)\s*</div>', re.DOTALL)
HEADERLINK = re.compile(r'<a class="headerlink".*?</a>', re.DOTALL)
LINK = re.compile(r'<a class="reference internal" href="([^"#]*)#([^"]+)"')
SLOT = '<script type="application/json" id="hover-cards">{}</script>\n</body>'


def write(app, error):
    """Lay the cards into the finished pages."""
    site = Path(app.outdir)
    if error is not None or app.builder.format != "html":
        return
    paths = {f"{name}.html": site / f"{name}.html" for name in sorted(app.env.found_docs)}
    pages = {name: path.read_text(encoding="utf-8") for name, path in paths.items() if path.is_file()}
    for name, found in cards(pages).items():
        data = json.dumps(found, ensure_ascii=False, separators=(",", ":")).replace("</", "<\\/")
        head, _, tail = pages[name].rpartition("</body>")
        paths[name].write_text(head + SLOT.format(data) + tail, encoding="utf-8")


def cards(pages: dict[str, str]) -> dict[str, dict[str, str]]:
    """{page: {href: HTML}} for every page, by its path, with links to terms or propositions of a page; formulas are TeX."""
    known = {(name, anchor): html for name, text in pages.items() for anchor, html in fragments(text).items()}
    found = {}
    for name, text in pages.items():
        for path, anchor in LINK.findall(text):
            target = posixpath.normpath(posixpath.join(posixpath.dirname(name), path)) if path else name
            if (target, anchor) in known:
                found.setdefault(name, {})[f"{path}#{anchor}"] = known[target, anchor]
    return found


def fragments(text: str) -> dict[str, str]:
    """{id: HTML} of the terms and the propositions of a page, without links and without ids: it will stand elsewhere."""
    found = {anchor: f"<p><strong>{term}</strong></p>{words}" for anchor, term, words in TERM.findall(text)}
    found |= dict(PROOF.findall(text))
    return {
        anchor: re.sub(r'</?a\b[^>]*>| id="[^"]*"', "", HEADERLINK.sub("", html)).strip()
        for anchor, html in found.items()
    }
