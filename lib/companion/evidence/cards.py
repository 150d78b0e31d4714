"""How a verdict looks: a small card in the chapter, a row in a table. Plain HTML, styled by the book's style sheet."""

from html import escape

from .wording import describe_region, number

VERDICT_SIGNS = {"holds": "✓", "holds only if": "◐", "fails": "✗", "open": "?"}


def _class(verdict: str) -> str:
    return "verdict-" + verdict.replace(" ", "-")


def badge(verdict: str) -> str:
    """The verdict as a coloured word with a sign; never by colour alone."""
    return f'<span class="verdict {_class(verdict)}"><span aria-hidden="true">{VERDICT_SIGNS[verdict]}</span> {verdict}</span>'


def _rows(verdict):
    for e in verdict.evidence:
        i = e.interval
        span = number(i.estimate) if i.low == i.high else f"{number(i.estimate)} [{number(i.low)}, {number(i.high)}]"
        yield (
            f'<tr class="says-{e.says}"><td>{escape(e.condition)}</td><td>{escape(e.measure)}</td>'
            f'<td>{span}</td><td>{describe_region(e.region)}</td><td title="{escape(i.method)}, n = {i.n}">{e.says}</td></tr>'
        )


def card(verdict) -> str:
    """One claim with its evidence: what was measured, the interval, what the claim demands, what follows."""
    only_if = (
        f'<p class="only-if">… {escape("; ".join(verdict.conditions))}</p>' if verdict.says == "holds only if" else ""
    )
    methods = "; ".join(dict.fromkeys(f"{e.interval.method}, n = {e.interval.n}" for e in verdict.evidence))
    return (
        f'<div class="verdict-card {_class(verdict.says)}" id="claim-{escape(verdict.claim)}">'
        f'<p class="claim"><strong>{escape(verdict.claim)}</strong> {escape(verdict.text)} {badge(verdict.says)}</p>{only_if}'
        '<div class="table-scroll" tabindex="0" role="region" '
        f'aria-label="Evidence for claim {escape(verdict.claim)}">'
        "<table><thead><tr><th>when</th><th>measured</th><th>value [interval]</th><th>claimed</th><th>says</th></tr></thead>"
        f"<tbody>{''.join(_rows(verdict))}</tbody></table></div>"
        f'<p class="methods">{escape(methods)}</p></div>'
    )


class Table:
    """The verdicts of a chapter at a glance, each linked to its card."""

    def __init__(self, verdicts):
        self.verdicts = verdicts

    def __repr__(self):
        return "\n".join(f"{v.claim}: {v.says}" for v in self.verdicts)

    def _repr_html_(self):
        rows = "".join(
            f'<tr><td><a href="#claim-{escape(v.claim)}">{escape(v.claim)}</a></td><td>{escape(v.text)}</td><td>{badge(v.says)}</td></tr>'
            for v in self.verdicts
        )
        return (
            '<div class="table-scroll verdict-table" tabindex="0" role="region" aria-label="Verdicts of this chapter">'
            f"<table><thead><tr><th>claim</th><th>the text says</th><th>verdict</th></tr></thead><tbody>{rows}</tbody></table></div>"
        )
