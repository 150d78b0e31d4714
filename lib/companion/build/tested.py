"""The tests that prose names: a short link in the text, and one page, tests.html, with their source."""

import ast
import re
from functools import lru_cache
from html import escape
from pathlib import Path

from docutils import nodes
from markupsafe import Markup
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import PythonLexer
from sphinx.util.docutils import SphinxRole

from .sphinx_site import ALONE

TESTS = Path(__file__).parents[3] / "tests"
LINK = Markup('<a class="tested" href="{}tests.html#{}" title="{}">{}</a>')
NAMED = re.compile(r'<a class="tested" href="[./]*tests\.html#(test_\w+)"')
SECTION = '<section id="{name}"><h2>{name}</h2><p>{file}</p>{code}</section>\n'


@lru_cache
def sources(folder: Path = TESTS) -> dict[str, tuple[str, str]]:
    """{name: (file, source)} of every test function below `folder`; the file is relative to the folder above it."""
    found = {}
    for path in sorted(folder.rglob("test_*.py")):
        text = path.read_text(encoding="utf-8")
        lines = text.splitlines()
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                first = min([node.lineno, *(d.lineno for d in node.decorator_list)])
                code = "\n".join(lines[first - 1 : node.end_lineno])
                found.setdefault(node.name, (path.relative_to(folder.parent).as_posix(), code))
    return found


class Tested(SphinxRole):
    """{tested}`test_name`: the word "tested", linked to the test's source. {tested}`checked <test_name>` has words of its own."""

    def run(self):
        words, name = re.fullmatch(r"(?:(.+?)\s*<)?(.*?)>?", self.text, re.DOTALL).groups()
        if name not in sources():
            message = self.inliner.reporter.warning(
                f"{{tested}}`{name}`: there is no such test below {TESTS.name}/", line=self.lineno
            )
            return [], [message]
        html = LINK.format("../" * self.env.docname.count("/"), name, name, words or "tested")
        return [nodes.raw("", html, format="html")], []


def write(app, error):
    """tests.html: the source of the tests that the pages name, in the order of their files."""
    site = Path(app.outdir)
    if error is not None or app.builder.format != "html":
        return
    pages = [path.read_text(encoding="utf-8") for path in sorted(site.rglob("*.html"))]
    names = {name for text in pages for name in NAMED.findall(text)}
    if not names:
        return
    options = app.config.html_theme_options
    light = HtmlFormatter(style=options.get("pygments_light_style", "default"), cssclass="code")
    dark = HtmlFormatter(style=options.get("pygments_dark_style", "default"), cssclass="code")
    sections = "".join(
        SECTION.format(name=name, file=escape(file), code=highlight(code, PythonLexer(), light))
        for name, (file, code) in sorted(sources().items(), key=lambda item: item[1])
        if name in names
    )
    style = (
        "<style>main pre { white-space: pre-wrap; overflow-wrap: anywhere; padding: 0.8rem; font-size: 0.84rem; } "
        "body { max-width: 54rem !important; } h2 { font-size: 1.05rem; } main { overflow-wrap: anywhere; } "
        f"section:target {{ outline: 3px solid; outline-offset: 6px; }}\n{light.get_style_defs('.code')}\n"
        f"@media (prefers-color-scheme: dark) {{ {dark.get_style_defs('.code')} }}</style>"
    )
    (site / "tests.html").write_text(
        ALONE.format(
            language=app.config.language,
            title=f"Tests named in the book - {escape(app.config.html_title)}",
            description="The source of the tests that the chapters name beside propositions, formulas and models.",
            head=style,
            heading="The tests that the chapters name",
            text=f'<p>Each holds a statement of the text against the library. <a href="{app.config.root_doc}.html">To the'
            f" book.</a></p>\n{sections}",
        ),
        encoding="utf-8",
    )
