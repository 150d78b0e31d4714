"""What is taken out of a site to make it light, and what must stay: glyphs by formulas, rules by classes, drawings by the eye."""

import re
import xml.etree.ElementTree as ET
from pathlib import Path
from types import SimpleNamespace

import pytest

from companion.build import weight
from companion.build.weight import drawing, glyphs, lighten, styles, symbols

MATHJAX = Path(__file__).parents[2] / "chapters" / "_static" / "mathjax"
FONT = (MATHJAX / "output/svg/fonts/tex.js").read_text(encoding="utf-8")
READER = (MATHJAX / "input/tex.js").read_text(encoding="utf-8")
FIGURE = """<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink">
 <!-- a comment -->
 <g clip-path="url(#p)">
  <use xlink:href="#m" x="12.345678" y="3.000001" style="fill: #123456"/>
  <use xlink:href="#m" x="22.345678" y="4" style="fill: #123456"/>
 </g>
 <g>
  <use xlink:href="#m" x="1" y="2" style="fill: #123456"/>
  <use xlink:href="#m" x="3" y="4" style="fill: #654321"/>
 </g>
 <path d="M 1.234567 -2.345678 L 3 4" style="opacity: 0.123456"/>
 <g transform="scale(0.015625)"/>
 <text x="1" y="2">a  <tspan>b</tspan> <tspan>c</tspan></text>
</svg>"""


def tables(font: str) -> dict[str, set[int]]:
    """table -> the code points that it has an outline for."""
    found = re.findall(r'T\.(\w+)=\(0,H\.AddPaths\)\(V\.\w+,\{((?:[\de]+:"[^"\\]*",?)*)', font)
    return {name: {int(float(code)) for code in re.findall(r'([\de]+):"', inner)} for name, inner in found}


ALL = tables(FONT)


def test_letters_digits_and_brackets_stay_and_alphabets_that_nobody_names_go():
    kept = tables(glyphs(FONT, READER, r"\(x + 1\)"))
    assert set(range(33, 127)) <= kept["normal"]
    assert {0x394, 0x2212, 0x27E8, 0x1D465, 0x1D6FC} <= kept["normal"]
    for table in ("bold", "fraktur", "sansSerif", "monospace", "texCalligraphic", "texMathit", "texOldstyle"):
        assert ALL[table]
        assert kept[table] == set()
    assert not kept["normal"] & {0x1D504, 0x1D538, 0x2297}


@pytest.mark.parametrize(
    ("formula", "table", "code"),
    [
        (r"\mathbf{x}", "normal", 0x1D431),
        (r"\mathbf{+}", "bold", ord("+")),
        (r"\mathcal{N}", "texCalligraphic", ord("N")),
        (r"\mathbb{R}", "normal", 0x211D),
        (r"\mathbb{E}", "normal", 0x1D53C),
        (r"\mathfrak{g}", "normal", 0x1D524),
        (r"\mathsf{T}", "normal", 0x1D5B3),
        (r"\mathtt{a}", "normal", 0x1D68A),
        (r"a \otimes b", "normal", 0x2297),
        (r"a \leqslant b", "normal", 0x2A7D),
        (r"a \iff b", "normal", 0x27FA),
        (r"a \implies b", "normal", 0x27F9),
        ("a ⊗ b", "normal", 0x2297),
        (r"a \not\sim b", "normal", 0x2241),
    ],
)
def test_what_a_formula_names_stays(formula, table, code):
    assert code in ALL[table]
    assert code in tables(glyphs(FONT, READER, formula))[table]


def test_a_command_that_stands_for_others_brings_their_signs():
    assert "⊗" in symbols({"otimes"}, READER)
    assert symbols({"x"}, r'{x:["Macro","\\y\\,"],y:"\u2297"}') == {"⊗"}


def test_the_font_is_otherwise_as_it_was_and_light():
    light = glyphs(FONT, READER, r"\(\alpha\)")
    assert len(light) < len(FONT) / 2.5
    blank = r'(?<=\{)(?:[\de]+:"[^"\\]*",?)+'
    assert re.sub(blank, "", light) == re.sub(blank, "", FONT)
    letters = "".join(c for c in map(chr, range(33, 0x3000)) if c.isalnum())
    everything = " ".join(f"\\{name}{{{letters}}}" for words, _ in weight.ALPHABETS.values() for name in words.split())
    assert tables(glyphs(FONT, READER, everything + r"\not" + "".join(map(chr, range(0x2400, 0x2B00))))) == ALL


def test_a_rule_stays_where_one_of_its_selectors_can_match():
    sheet = "a { b: c } .x, .y > .z { d: e } .y { f: g } .x:not(.y) { h: i } @media print { .y { j: k } .x { l: m } } @media screen { .y { n: o } }"
    kept = styles(sheet, {"x", "z"})
    assert [p for p in "bdfhjln" if f"{p}:" in kept] == ["b", "d", "h", "l"]
    assert ".y" not in kept.replace(".x:not(.y)", "")
    assert "screen" not in kept
    assert "f: g" in styles(sheet, set(), ("y",))


def test_at_rules_and_variables_stay():
    sheet = '@charset "utf-8"; @keyframes turn { to { rotate: 1turn } } :root { --a: url("data:,{}") } @supports (a: b) { .x { c: d } }'
    kept = styles(sheet, {"x"})
    for part in ("@keyframes turn", "rotate: 1turn", '--a: url("data:,{}")', "@supports (a: b)", "c: d"):
        assert part in kept


def test_a_drawing_keeps_its_marks_at_a_hundredth_and_its_words_to_the_blank():
    tree, was = ET.fromstring(drawing(FIGURE)), ET.fromstring(FIGURE)
    space = "{http://www.w3.org/2000/svg}"
    uses = tree.findall(f".//{space}use")
    assert [(u.get("x"), u.get("y")) for u in uses] == [("12.35", "3"), ("22.35", "4"), ("1", "2"), ("3", "4")]
    groups = tree.findall(f"{space}g")
    assert groups[0].get("style") == "fill: #123456"
    assert [u.get("style") for u in uses] == [None, None, "fill: #123456", "fill: #654321"]
    assert groups[2].get("transform") == "scale(0.015625)"
    path = tree.find(f"{space}path")
    assert (path.get("d"), path.get("style")) == ("M 1.23 -2.35 L 3 4", "opacity: 0.123456")
    words = [ET.tostring(t.find(f"{space}text"), method="text").strip() for t in (tree, was)]
    assert words[0] == words[1]


def test_a_site_is_lightened_and_its_sheets_get_new_addresses(tmp_path):
    static = tmp_path / "_static"
    (static / "styles").mkdir(parents=True)
    (static / "styles" / "a.css").write_text(".used { a: b } .made-later { c: d } .unused { e: f }")
    (static / "a.js").write_text('e.classList.add("made-later")')
    page = '<link href="_static/styles/a.css?digest=old"><p class="used"><code><span class="pre">x</span> <span class="pre">y</span></code></p>'
    (tmp_path / "a.html").write_text(page)
    app = SimpleNamespace(outdir=str(tmp_path), builder=SimpleNamespace(format="html"))
    lighten(app, ValueError())
    assert (tmp_path / "a.html").read_text() == page, "a build that failed is left alone"
    lighten(app, None)
    sheet, text = (static / "styles" / "a.css").read_text(), (tmp_path / "a.html").read_text()
    assert [c for c in ("used", "made-later", "unused") if f".{c}" in sheet] == ["used", "made-later"]
    assert "<code>x y</code>" in text
    assert "digest=old" not in text
    assert re.search(r"a\.css\?digest=\w{20}", text)
