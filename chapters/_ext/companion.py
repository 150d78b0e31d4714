"""What this book adds to Sphinx: numbers as the run wrote them, and docstrings that are formulas."""

import re
import shutil
from pathlib import Path

from docutils import nodes
from myst_nb.core.render import MimeData
from myst_nb.core.variables import RetrievalError
from myst_nb.ext.glue.roles import PasteRoleAny, PasteTextRole
from myst_nb.ext.glue.utils import glue_warning, retrieve_glue_data


class GluedText(PasteTextRole):
    """{glue:text}`chapter:key`: the number as `Chapter.glue` formatted it, digit for digit.

    MyST-NB takes what follows the last colon for a format and reads 2.50 as 2.5; here the key is the whole text.
    """

    def run(self):
        if "::" in self.text:
            return PasteRoleAny.run(self)
        try:
            data: MimeData = retrieve_glue_data(self.document, self.text)
        except RetrievalError as error:
            return [], [glue_warning(str(error), self.document, self.line)]
        return [nodes.inline(self.text, str(data.data["text/plain"]), classes=["pasted-text"])], []


def plain(app, what, name, obj, options, lines):
    """Docstrings hold formulas, in which | and * mean what they mean in mathematics: escape them, keep `code`."""
    for i, line in enumerate(lines):
        parts = re.split(r"(`[^`]+`)", line)
        lines[i] = "".join(
            f"`{part}`" if j % 2 else re.sub(r"([*|_\\])", r"\\\1", part) for j, part in enumerate(parts)
        )


def tidy(app, error):
    """Take out of the finished site what no page uses: the theme's icon fonts, its unfilled templates, source maps."""
    static = Path(app.outdir) / "_static"
    if error is None and static.is_dir():
        shutil.rmtree(static / "vendor", ignore_errors=True)
        for path in (*static.glob("*webpack-macros.html"), *static.rglob("*.map")):
            path.unlink()


def setup(app):
    app.setup_extension("myst_nb")
    app.add_role_to_domain("glue", "text", GluedText(), override=True)
    app.connect("autodoc-process-docstring", plain)
    app.connect("build-finished", tidy)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
