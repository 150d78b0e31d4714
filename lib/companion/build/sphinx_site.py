"""What surrounds the pages: tags for search engines and previews, the root, a page for missing addresses, excerpts.

The site's address is one setting, html.baseurl in _config.yml. While it is empty there is no canonical address and no
sitemap, which need one.
"""

import json
import re
from html import escape
from html.parser import HTMLParser
from pathlib import Path

from docutils import nodes
from matplotlib import rc_context
from sphinx import addnodes

from companion.evidence import explorer
from companion.evidence.figures import house_style

PREVIEW = "_static/preview.png"
EXPLORER = "chapters/explorer"
ALONE = """<!doctype html>
<html lang="{language}">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title}</title>
<meta name="description" content="{description}">
{head}
<style>body {{ font: 1.1rem/1.6 Georgia, serif; max-width: 38rem; margin: 3rem auto; padding: 0 1rem; }} a {{ color: inherit; }}</style>
</head>
<body>
<main>
<h1>{heading}</h1>
{text}
</main>
</body>
</html>
"""


def description(doctree, default: str) -> str:
    """The first paragraph of a page in at most 160 characters, whole words; formulas are not for search engines."""
    for paragraph in doctree.findall(nodes.paragraph) if doctree else ():
        text = " ".join(paragraph.astext().split())
        if len(text) > 30 and isinstance(paragraph.parent, nodes.section) and not list(paragraph.findall(nodes.math)):
            return text if len(text) <= 160 else text[:159].rpartition(" ")[0].rstrip(",;:") + "…"
    return default


def tags(app, pagename, templatename, context, doctree):
    """Description and preview of a page. Sphinx adds the canonical address."""
    base = app.config.html_baseurl
    title = re.sub(r"<[^>]*>", "", context.get("title") or app.config.html_title)
    text = description(doctree, f"{app.config.project}. {title}.")
    properties = {
        "og:title": title,
        "og:description": text,
        "og:site_name": app.config.html_title,
        "og:type": "website" if pagename == app.config.root_doc else "article",
    }
    if EXPLORER in app.env.found_docs:
        properties["og:image"] = f"{base.rstrip('/')}/{PREVIEW}" if base else context["pathto"](PREVIEW, resource=True)
    if base:
        properties["og:url"] = context["pageurl"]
    lines = [f'<meta name="description" content="{escape(text)}" />']
    lines += [f'<meta property="{name}" content="{escape(value)}" />' for name, value in properties.items()]
    context["metatags"] = context.get("metatags", "") + "\n    " + "\n    ".join(lines)


def claims_in_search(app, doctree, docname):
    """Index entries that lead the search for a claim's name, as in P4, to its card and its row of the ledger."""
    path = Path(app.srcdir) / "chapters" / "_generated" / "verdicts.json"
    if not path.is_file():
        return
    for claim in json.loads(path.read_text(encoding="utf-8"))["claims"]:
        name = claim["claim"]
        if docname == "chapters/ledger":
            target = f"ledger-{name}"
        elif docname == f"chapters/{claim['chapter']}" and claim["verdict"]:
            target = f"claim-{name}"
        else:
            continue
        doctree.append(addnodes.index(entries=[("single", name, target, "main", None)]))


class Excerpts(HTMLParser):
    """The text of a page's article, cut where a section, a term or a claim has an id: [[id, text], ...]."""

    SILENT = ("script", "style", "label", "button")
    BLOCKS = ("p", "div", "li", "td", "th", "tr", "dt", "dd", "pre", "summary", "figcaption")

    def __init__(self, text: str):
        super().__init__(convert_charrefs=True)
        self.parts, self.silent = [["", ""]], 0
        article = re.search(r'<article class="bd-article">(.*)</article>', text, re.DOTALL)
        self.feed(article[1] if article else "")
        self.parts = [[name, words] for name, text in self.parts if (words := " ".join(text.split()))]

    def handle_starttag(self, tag, attrs):
        attrs = {name: value or "" for name, value in attrs}
        self.silent += tag in self.SILENT
        name = attrs.get("id", "")
        if name and (tag in ("section", "dt") or name.startswith(("claim-", "ledger-"))):
            self.parts.append([name, ""])
        if tag in self.BLOCKS or attrs.get("class", "").startswith("ledger-"):
            self.parts[-1][1] += " "

    def handle_endtag(self, tag):
        self.silent -= tag in self.SILENT

    def handle_data(self, data):
        if not self.silent and data != "#":  # the mark of a link to a heading
            self.parts[-1][1] += data


def write(app, error):
    """Beside the pages: excerpts for the search, the preview's picture, the root page, 404.html, sitemap.xml."""
    site, base = Path(app.outdir), app.config.html_baseurl
    if error is not None or app.builder.format != "html":
        return
    found = {
        name: Excerpts(page.read_text(encoding="utf-8")).parts
        for name in sorted(app.env.found_docs)
        if (page := site / f"{name}.html").is_file()
    }
    for name, parts in found.items():
        data = json.dumps(parts, ensure_ascii=False, separators=(",", ":"))
        path = site / "_static" / "excerpts" / f"{name}.js"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"excerpts[{json.dumps(name)}] = {data};\n", encoding="utf-8")
    if EXPLORER in app.env.found_docs:
        with rc_context():
            house_style()
            figure = explorer.still()
            figure.set_size_inches(12, 6.3)
            figure.suptitle(app.config.project, fontsize=20)
            figure.savefig(site / PREVIEW, dpi=100, bbox_inches=None, metadata={"Software": None})
    front = f"{app.config.root_doc}.html"
    words = {"language": app.config.language, "description": escape(app.config.project)}
    canonical = f'<link rel="canonical" href="{base.rstrip("/")}/{front}">' if base else ""
    (site / "index.html").write_text(
        ALONE.format(
            **words,
            title=escape(app.config.html_title),
            head=f'{canonical}\n<script>location.replace("{front}" + location.hash);</script>\n'
            f'<noscript><meta http-equiv="refresh" content="0; url={front}"></noscript>',
            heading=escape(app.config.project),
            text=f'<p><a href="{front}">Open the book.</a></p>',
        ),
        encoding="utf-8",
    )
    home = f"{base.rstrip('/')}/" if base else ""  # a missing address may lie at any depth
    (site / "404.html").write_text(
        ALONE.format(
            **words,
            title=f"Page not found - {escape(app.config.html_title)}",
            head='<meta name="robots" content="noindex">',
            heading="There is no such page",
            text=f'<p>The address may be old or misspelt. <a href="{home}{front}">Start at the front page</a> or'
            f' <a href="{home}search.html">search the book</a>.</p>',
        ),
        encoding="utf-8",
    )
    if base:
        urls = "".join(f"<url><loc>{home}{name}.html</loc></url>\n" for name in sorted(found))
        (site / "sitemap.xml").write_text(
            '<?xml version="1.0" encoding="UTF-8"?>\n'
            f'<urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">\n{urls}</urlset>\n',
            encoding="utf-8",
        )
