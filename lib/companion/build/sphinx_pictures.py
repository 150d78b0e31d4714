"""The directive {picture}: a moving picture of pictures.js in a chapter, and its numbers as a table where no script runs.

```{picture} tau_leaping
The caption.
```
"""

from pathlib import Path

from docutils import nodes
from markupsafe import Markup
from sphinx.util.docutils import SphinxDirective

from companion.evidence import pictures
from companion.evidence.wording import number

FRAME = Markup('<figure class="picture" id="picture-{name}" data-picture="{name}" data-alt="{alt}">')
ROW = Markup('<tr><th scope="row">{}</th><td>{}</td></tr>')
STILL = Markup("""
<p>{alt} Without a script the picture does not move; these are its numbers at the start.</p>
<table>{rows}</table>
<figcaption>""")
SCRIPTS = """</figcaption></figure>
<link rel="stylesheet" href="{static}pictures.css">
<script src="{static}pictures_data.js"></script>
<script src="{static}pictures.js"></script>"""


class MovingPicture(SphinxDirective):
    """{picture} NAME: the picture of `companion.evidence.pictures` of that name, above its caption."""

    required_arguments = 1
    has_content = True

    def run(self):
        name, known = self.arguments[0], pictures.pictures()
        if name not in known:
            message = f"there is no picture {name!r}; there are {', '.join(known)}"
            return [self.state_machine.reporter.warning(message, line=self.lineno)]
        if not self.content:
            return [self.state_machine.reporter.warning(f"the picture {name!r} has no caption", line=self.lineno)]
        shown = known[name]
        numbers = shown.numbers(shown.start)
        rows = Markup("").join(ROW.format(text, number(float(numbers[key]))) for key, text in shown.words.items())
        static = "../" * self.env.docname.count("/") + "_static/"
        caption = nodes.container(classes=["picture-caption"])
        self.state.nested_parse(self.content, self.content_offset, caption)
        frame = FRAME.format(name=name, alt=shown.alt) + STILL.format(alt=shown.alt, rows=rows)
        return [
            nodes.raw("", frame, format="html"),
            caption,
            nodes.raw("", SCRIPTS.format(static=static), format="html"),
        ]


def write(app, error):
    """pictures_data.js, beside the script."""
    static = Path(app.outdir) / "_static"
    if error is None and static.is_dir() and (static / "pictures.js").is_file():
        (static / "pictures_data.js").write_text(pictures.script(), encoding="utf-8")


def setup(app):
    app.add_directive("picture", MovingPicture)
    app.connect("build-finished", write)
