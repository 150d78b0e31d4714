"""Number fields beside exercises: what a reader types is compared with a number of the run."""

import re

from docutils import nodes
from markupsafe import Markup
from myst_nb.core.variables import RetrievalError
from myst_nb.ext.glue.utils import retrieve_glue_data
from sphinx.util.docutils import SphinxRole

SIGNS = str.maketrans("−⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "--0123456789")
NUMBER = re.compile(r"([-+]?(?:\d+|\d{1,3}(?:,\d{3})+)(?:\.\d+)?)(?:e([-+]?\d+)| × 10(-?\d+))?( ?%)?")
#: The script unhides it: without scripts nothing would answer.
FIELD = Markup(
    '<span class="check" hidden data-answer="{}" data-within="{}"><label>{} <input type="text" inputmode="decimal"'
    ' autocomplete="off" spellcheck="false" size="8">{}</label> <button type="button">Check</button>'
    ' <output aria-live="polite"></output></span>'
)


def parse(text: str) -> tuple[float, str]:
    """(value, unit) of a number as the book prints it: 4.03, 1,200, 35 %, 1.2 × 10⁻⁵; unit "%" or "". ValueError for any other text."""
    if not (found := NUMBER.fullmatch(text.strip().translate(SIGNS))):
        raise ValueError(f"{text!r} is not a number")
    digits, power, ten, percent = found.groups()
    return float(f"{digits.replace(',', '')}e{power or ten or 0}"), (percent or "").strip()


class Check(SphinxRole):
    """{check}`chapter:key 2%`: a field that tells whether a number lies within 2 % of the one glued as chapter:key.

    A tolerance without % is absolute. {check}`first step <chapter:key 2%>` puts these words before the field instead of
    "Your answer". The value is read from the executed notebook when the page is built; a key that is unknown or holds no
    number is a warning, which stops a strict build.
    """

    def run(self):
        words, asked = re.fullmatch(r"(?:(.+?)\s*<)?(.*?)>?", self.text, re.DOTALL).groups()
        key, _, tolerance = asked.rpartition(" ")
        try:
            glued = retrieve_glue_data(self.inliner.document, key).data["text/plain"]
            answer, unit = parse(glued)
            within, percent = parse(tolerance)
        except (RetrievalError, KeyError):
            return self.refuse(f"{key!r} is glued nowhere on this page; write chapter:key and a tolerance, as in 2%")
        except ValueError as error:
            return self.refuse(f"{key!r}: {error}; glue a plain number, and give a tolerance such as 2% or 0.01")
        if percent:
            within *= abs(answer) / 100
        html = FIELD.format(f"{answer:.17g}", f"{within:.6g}", words or "Your answer", f" {unit}" if unit else "")
        return [nodes.raw("", html, format="html")], []

    def refuse(self, text):
        message = self.inliner.reporter.warning(f"{self.env.docname}: {{check}}`{self.text}`: {text}", line=self.lineno)
        return [], [message]
