"""What this book adds to Sphinx: numbers and verdicts as the run wrote them, links to chapters, readable docstrings."""

import json
import re
import shutil
from pathlib import Path

from docutils import nodes
from markupsafe import Markup
from matplotlib import rc_context
from myst_nb.core.variables import RetrievalError
from myst_nb.ext.glue.roles import PasteRoleAny, PasteTextRole
from myst_nb.ext.glue.utils import glue_warning, retrieve_glue_data
from sphinx import addnodes
from sphinx.util.docutils import SphinxRole

from companion.evidence import explorer
from companion.evidence.cards import badge
from companion.evidence.figures import house_style
from companion.evidence.wording import number, quoted

from . import downloads, hover, sphinx_pictures, sphinx_site, tested, weight
from .answers import Check


class GluedText(PasteTextRole):
    """{glue:text}`chapter:key`: the number as `Chapter.glue` formatted it, digit for digit.

    MyST-NB takes what follows the last colon for a format and reads 2.50 as 2.5; here the key is the whole text.
    """

    def run(self):
        if "::" in self.text:
            return PasteRoleAny.run(self)
        try:
            data = retrieve_glue_data(self.document, self.text)
        except RetrievalError as error:
            return [], [glue_warning(str(error), self.document, self.line)]
        return [nodes.inline(self.text, str(data.data["text/plain"]), classes=["pasted-text"])], []


class LedgerRole(SphinxRole):
    """A role that reads the ledger of the run, `_generated/verdicts.json`."""

    def claim(self, name):
        path = Path(self.env.srcdir) / "chapters" / "_generated" / "verdicts.json"
        self.env.note_dependency(str(path))
        claims = {c["claim"]: c for c in json.loads(path.read_text(encoding="utf-8"))["claims"]}
        return claims.get(name)

    def refuse(self, text):
        message = self.inliner.reporter.warning(f"{{{self.name}}}`{self.text}`: {text}", line=self.lineno)
        return [], [message]


class VerdictOf(LedgerRole):
    """{verdict}`A3`: the badge of a claim's verdict, linked to its card."""

    def run(self):
        claim = self.claim(self.text)
        if claim is None:
            return self.refuse("no such claim in claims.yml")
        if claim["verdict"] is None:
            return [nodes.inline("", "not yet tested", classes=["verdict", "verdict-untested"])], []
        link = Markup('<a class="verdict-link" href="{}.html#claim-{}">{}</a>')
        html = link.format(claim["chapter"], self.text, Markup(badge(claim["verdict"])))
        return [nodes.raw("", html, format="html")], []


class TextSays(LedgerRole):
    """{says}`A3`: the phrase of the text that the claim takes up, in quotation marks; a claim of ours in its own words."""

    def run(self):
        claim = self.claim(self.text)
        if claim is None:
            return self.refuse("no such claim in claims.yml")
        return [nodes.inline("", f"“{quoted(claim['phrase'])}”" if claim["phrase"] else claim["text"])], []


class Measured(LedgerRole):
    """{measured}`A3 | rotated`: the estimate of the claim's one measurement whose words contain the second part."""

    def run(self):
        name, _, words = (part.strip() for part in self.text.partition("|"))
        claim = self.claim(name)
        if claim is None:
            return self.refuse("no such claim in claims.yml")
        if claim["verdict"] is None:
            return [nodes.inline("", "…")], []
        found = [e for e in claim["evidence"] if words in f"{e['measure']}; {e['condition']}"]
        if len(found) != 1:
            known = " / ".join(f"{e['measure']}; {e['condition']}" for e in claim["evidence"])
            return self.refuse(f"{len(found)} measurements contain these words; there are: {known}")
        i = found[0]["interval"]
        how = f"{found[0]['measure']}: {number(float(i['low']))} to {number(float(i['high']))}, {i['method']}, n = {i['n']}"
        html = Markup('<span class="measured" title="{}">{}</span>').format(how, number(float(i["estimate"])))
        return [nodes.raw("", html, format="html")], []


class GluedElsewhere(SphinxRole):
    """{glued}`tau_leaping:key`: a number that another chapter glued, as that chapter formatted it."""

    def run(self):
        path = Path(self.env.srcdir) / "chapters" / f"{self.text.partition(':')[0]}.ipynb"
        if not path.is_file():
            return [nodes.inline("", "…")], []
        self.env.note_dependency(str(path))
        for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
            for output in cell.get("outputs", []):
                if output.get("metadata", {}).get("scrapbook", {}).get("name") == self.text:
                    text = output["data"]["application/papermill.record/text/plain"]
                    return [nodes.inline("", "".join(text), classes=["measured"])], []
        message = self.inliner.reporter.warning(
            f"{{glued}}`{self.text}`: the chapter glues no such key", line=self.lineno
        )
        return [], [message]


class ChapterLink(SphinxRole):
    """{chapter}`tau_leaping`: a link that carries the chapter's title, or its name in words while it is unwritten."""

    def run(self):
        name = f"chapters/{self.text}"
        words = nodes.inline("", self.text.replace("_", " "))
        if name not in self.env.found_docs:
            return [words], []
        link = addnodes.pending_xref(
            "", words, refdomain="std", reftype="doc", reftarget=f"/{name}", refexplicit=False, refwarn=True
        )
        link["refdoc"] = self.env.docname
        return [link], []


def plain(app, what, name, obj, options, lines):
    """Docstrings hold formulas, in which | and * mean what they mean in mathematics: escape them, keep `code`.

    An indented paragraph is code.
    """
    written = []
    for before, line in zip(["", *lines], lines, strict=False):
        code = line.startswith("    ")
        if code and not before.strip():
            written += [".. code-block:: python", ""]
        parts = [line] if code else re.split(r"(`[^`]+`)", line)
        escaped = (p if code else f"`{p}`" if j % 2 else re.sub(r"([*|_\\])", r"\\\1", p) for j, p in enumerate(parts))
        written.append(re.sub(r"(`[^`]+``)(?=\w)", r"\1\\ ", "".join(escaped)))  # ``set``\ s: a literal ends at a blank
    lines[:] = written


def skip(app, what, name, obj, skipped, options):
    """The API pages leave out constants and the fields of named tuples, which have no words of their own."""
    data = what == "module" and not callable(obj)
    field = (getattr(obj, "__doc__", None) or "").startswith("Alias for field number")
    return True if data or field else None


def linked(references: str) -> str:
    """The list of references with a link in place of each arXiv:..., as the style makes of each doi:..."""
    return re.sub(
        r"(?<!>)\b(arXiv:(\d{4}\.\d{4,5}|[a-z-]+/\d{7}))\b",
        r'<a class="reference external" href="https://arxiv.org/abs/\2">\1</a>',
        references,
    )


def tidy(app, error):
    """The last touch: out goes what no page uses (the theme's icon fonts, unfilled templates, source maps); preprints are
    linked; each page keeps one viewport; proofs lose the ids that sphinx-proof gives to all of them; buttons are called what they say."""
    site = Path(app.outdir)
    static = site / "_static"
    if error is not None or not static.is_dir():
        return
    shutil.rmtree(static / "vendor", ignore_errors=True)
    for path in (*static.glob("*webpack-macros.html"), *static.rglob("*.map")):
        path.unlink()
    for path in site.rglob("*.html"):
        text = path.read_text(encoding="utf-8")
        corrected = text.replace(
            '<div class="proof admonition" id="proof">', '<div class="proof proof-text admonition">'
        )
        corrected = corrected.replace(' id="proof-content"', "")
        corrected = corrected.replace('<summary aria-label="Toggle hidden content">', "<summary>")
        corrected = re.sub(r'(search-button-field [^>]*?) title="Search" aria-label="Search"', r"\1", corrected)
        first, viewport, rest = corrected.partition('<meta name="viewport"')
        corrected = first + viewport + re.sub(r'<meta name="viewport"[^>]*>', "", rest)
        if path.name == "references.html":
            corrected = linked(corrected)
        if corrected != text:
            path.write_text(corrected, encoding="utf-8")


def write_explorer(app, error):
    """What the explorer computes with, printed from the library, and its still picture, beside the script."""
    static = Path(app.outdir) / "_static"
    if error is None and static.is_dir() and "chapters/explorer" in app.env.found_docs:
        (static / "explorer_data.js").write_text(explorer.script(), encoding="utf-8")
        with rc_context():
            house_style()
            explorer.still().savefig(static / "explorer_still.svg", metadata={"Date": None})


def setup(app):
    app.setup_extension("myst_nb")
    app.add_role_to_domain("glue", "text", GluedText(), override=True)
    app.add_role("verdict", VerdictOf())
    app.add_role("says", TextSays())
    app.add_role("measured", Measured())
    app.add_role("glued", GluedElsewhere())
    app.add_role("chapter", ChapterLink())
    app.add_role("check", Check())
    app.add_role("tested", tested.Tested())
    app.connect("autodoc-process-docstring", plain)
    app.connect("autodoc-skip-member", skip)
    app.connect("doctree-resolved", sphinx_site.claims_in_search)
    app.connect("html-page-context", sphinx_site.tags)
    app.connect("html-page-context", downloads.offer, priority=900)
    app.connect("build-finished", tidy)
    app.connect("build-finished", hover.write)
    app.connect("build-finished", write_explorer)
    app.connect("build-finished", sphinx_site.write)
    app.connect("build-finished", tested.write)
    sphinx_pictures.setup(app)
    app.connect("build-finished", downloads.write)
    weight.setup(app)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
