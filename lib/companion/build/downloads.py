"""Notebooks as the download button gives them: what only MyST reads, roles, directives and labels, as plain Markdown."""

import json
import re
from pathlib import Path
from urllib.parse import urljoin

from docutils import nodes
from sphinx.testing import restructuredtext

from companion.errors import BookError

ROLE = re.compile(r"\{(\w[\w:+.-]*)\}`([^`]+)`")
OPENING = re.compile(r"(`{3,}|:{3,}|~{3,})\{([\w:-]+)\}[ \t]*(.*)")
LABEL = re.compile(r"^\(([\w:.-]+)\)=\n?", re.MULTILINE)
EQUATION = re.compile(r"\$\$[ \t]*\(([\w:.-]+)\)[ \t]*$", re.MULTILINE)
LINK = re.compile(r"\[([^\]\[]+)\]\(#?([\w.-]+)\)")
ANCHOR = re.compile(r'<a href="(?!https?:)([^"]*)">(.*?)</a>')
TESTED = re.compile(r"(?:(.+?)\s*<)?(test_\w+)>?", re.DOTALL)
GLUED = "application/papermill.record/"


def write(app, error):
    """Replace the notebooks in _sources, once the pages are built; the sources of other pages are not offered."""
    folder = Path(app.outdir) / "_sources"
    if error is not None or app.builder.format != "html":
        return
    for docname in sorted(app.env.found_docs):
        path = folder / f"{docname}.ipynb"
        if path.is_file():
            notebook = resolve(app, docname, json.loads(path.read_text(encoding="utf-8")))
            path.write_text(json.dumps(notebook, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    for path in folder.rglob("*.md"):
        path.unlink()


def offer(app, pagename, templatename, context, doctree):
    """The download menu without the source of a page that is no notebook: it holds roles and includes."""
    for group in context.get("header_buttons", ()):
        if group.get("label") == "download-buttons":
            group["buttons"] = [b for b in group["buttons"] if not b.get("url", "").endswith(".md")]


def resolve(app, docname: str, notebook: dict) -> dict:
    """The notebook in plain Markdown; a figure's number and caption stand in a cell below it, the works cited in the last."""
    glued = {}
    for cell in notebook["cells"]:
        for output in cell.get("outputs", []):
            if name := output.get("metadata", {}).get("scrapbook", {}).get("name"):
                glued[name] = {
                    kind.removeprefix(GLUED): "".join(text) if isinstance(text, list) else text
                    for kind, text in output["data"].items()
                }
    cells = []
    for cell in notebook["cells"]:
        if cell["cell_type"] == "markdown":
            cell["source"] = directives("".join(cell["source"]), glued)
        cells.append(cell)
        figure = cell["metadata"].get("mystnb", {}).get("figure") or {}
        if caption := figure.get("caption"):
            number = f"**{{numref}}`{figure['name']}`.** " if "name" in figure else ""
            cells.append(markdown(f"{cell['id']}-caption", number + caption))
    written = [cell for cell in cells if cell["cell_type"] == "markdown"]
    roles = dict.fromkeys(
        (name, " ".join(text.split())) for cell in written for name, text in ROLE.findall(cell["source"])
    )
    words = {(name, text): glued[text]["text/plain"] for name, text in roles if name == "glue:text" and text in glued}
    words |= {(name, text): "(answer: see the solution)" for name, text in roles if name == "check"}
    words |= {(name, text): TESTED.sub(tested, text) for name, text in roles if name == "tested"}
    works = {}
    words |= read(app, docname, [role for role in roles if role not in words], works)
    labels = app.env.get_domain("std").anonlabels
    for cell in written:
        text = LINK.sub(lambda found: found[1] if found[2].lower() in labels else found[0], cell["source"])
        text = ANCHOR.sub(lambda found: linked(app, docname, found[2], found[1]), LABEL.sub("", text))
        cell["source"] = ROLE.sub(lambda found: words[found[1], " ".join(found[2].split())], text)
    if works:
        cells.append(markdown("works-cited", "## Works cited\n\n" + "\n".join(f"- {work}" for work in sorted(works))))
    return notebook | {"cells": cells}


def tested(found: re.Match) -> str:
    """The role {tested} without a link: its words, and the name of the test."""
    words, name = found.groups()
    return f"{words} (`{name}`)" if words else f"tested by `{name}`"


def markdown(name: str, source: str) -> dict:
    return {"cell_type": "markdown", "id": name, "metadata": {}, "source": source}


def directives(text: str, glued: dict[str, dict]) -> str:
    """Markdown in place of directives and of numbered equations, from the outermost to the innermost."""
    lines, written = text.split("\n"), []
    while lines:
        line = lines.pop(0)
        if not (found := OPENING.fullmatch(line.rstrip())):
            written.append(line)
            continue
        fence, name, title = found.groups()
        end = next(n for n, inner in enumerate(lines) if re.fullmatch(f"{fence[0]}{{{len(fence)},}}", inner.rstrip()))
        body, lines = lines[:end], lines[end + 1 :]
        options = {}
        while body and (option := re.fullmatch(r":(\w[\w-]*):[ \t]*(.*)", body[0])):
            options[option[1]] = option[2]
            body.pop(0)
        written.append(directive(name, title, options, directives("\n".join(body), glued).strip(), glued))
    return EQUATION.sub(r"\\tag*{{eq}`\1`} $$", "\n".join(written))


def directive(name: str, title: str, options: dict, body: str, glued: dict[str, dict]) -> str:
    """One directive in Markdown; of those without a form of their own, the body."""
    if name == "glue":
        shown = glued.get(title, {})
        return re.sub(r"</?a\b[^>]*>", "", shown.get("text/html", "")) or shown.get("text/plain", "")
    if name == "picture":
        return f"*The book's page has a picture here that the reader moves.* {body}"
    if name == "dropdown":
        return f"<details><summary>{title}</summary>\n\n{body}\n\n</details>"
    if name == "prf:proof":
        return f"*Proof.* {body}"
    if name.startswith("prf:"):
        number = f"{{prf:ref}}`{options['label']}`" if "label" in options else name.removeprefix("prf:").capitalize()
        return f"**{number}**{f' ({title})' if title else ''}. {body}"
    if name in ("code", "code-block"):
        return f"```{title}\n{body}\n```"
    return f"**{title}**\n\n{body}" if title else body


def linked(app, docname: str, text: str, link: str) -> str:
    """A link from the page `docname`; where the site has no address, html_baseurl, its text alone."""
    base = app.config.html_baseurl
    return f"[{text}]({urljoin(base.rstrip('/') + '/' + docname, link)})" if base else text


def read(app, docname: str, roles: list[tuple[str, str]], works: dict[str, None]) -> dict[tuple[str, str], str]:
    """What each role, (name, text), reads on the page `docname`; `works` collects the entries of the works cited.

    Sphinx itself reads and resolves them, a paragraph each, so that numbers and titles are those of the pages.
    """
    if not roles:
        return {}
    # under a name of its own: what is read is entered in the environment
    app.env.temp_data["default_domain"] = app.env.get_domain("py")
    text = "\n\n".join(f":{name}:`{text}`" for name, text in roles)
    document = restructuredtext.parse(app, text, f"{docname}-download")
    app.env.resolve_references(document, docname, app.builder)
    paragraphs = [node for node in document.children if isinstance(node, nodes.paragraph)]
    words = {}
    for role, paragraph in zip(roles, paragraphs, strict=True):
        if list(paragraph.findall(nodes.problematic)):
            raise BookError(
                f"{docname}: the download cannot resolve {{{role[0]}}}`{role[1]}`; teach downloads.py its role"
            )
        parts = []
        for node in paragraph.children:
            text = re.sub(r"<[^>]*>", "", node.astext()) if isinstance(node, nodes.raw) else node.astext()
            link = node.get("refuri") if isinstance(node, nodes.reference) else None
            parts.append(linked(app, docname, text, link) if link and role[0] != "eq" else text)
        if role[0].startswith("cite:"):
            works |= dict.fromkeys(r["reftitle"] for r in paragraph.findall(nodes.reference) if r.get("reftitle"))
        words[role] = "".join(parts)
    return words
