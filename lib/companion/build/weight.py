"""What a page need not load: glyphs that no formula asks for, style rules that match nothing, digits that no screen shows."""

import re
import unicodedata
from hashlib import sha256
from itertools import pairwise
from pathlib import Path

import tinycss2

#: Alphabets of MathJax's font: the commands that ask for them, the tables that they fill.
ALPHABETS = {
    "bold": ("mathbf bf boldsymbol bm pmb textbf bfseries", "bold boldItalic texCalligraphicBold"),
    "calligraphic": ("mathcal cal", "texCalligraphic"),
    "script": ("mathscr scr", "script scriptBold"),
    "fraktur": ("mathfrak frak", "fraktur frakturBold"),
    "blackboard": ("mathbb Bbb", "doubleStruck"),
    "sans": ("mathsf sf textsf", "sansSerif sansSerifBold sansSerifItalic sansSerifBoldItalic"),
    "typewriter": ("mathtt tt texttt verb", "monospace"),
    "words": ("mathit it textit", "texMathit"),
    "digits": ("oldstyle mathnormal", "texOldstyle texOldstyleBold"),
}
#: Where Unicode has these alphabets: the last code point of each.
PLANE = (
    (0x1D433, "bold"), (0x1D467, ""), (0x1D49B, "bold"), (0x1D503, "script"), (0x1D537, "fraktur"),
    (0x1D56B, "blackboard"), (0x1D59F, "fraktur"), (0x1D66F, "sans"), (0x1D6A3, "typewriter"), (0x1D6A5, ""),
    (0x1D6E1, "bold"), (0x1D71B, ""), (0x1D755, "bold"), (0x1D7C9, "sans"), (0x1D7D7, "bold"),
    (0x1D7E1, "blackboard"), (0x1D7F5, "sans"), (0x1D7FF, "typewriter"),
)  # fmt: skip
#: Capitals of alphabets that Unicode had before that plane.
LETTERLIKE = {"script": "ℬℰℱℋℐℒℳℛℯℊℴ", "fraktur": "ℭℌℑℜℨ", "blackboard": "ℂℍℕℙℚℝℤ"}
#: What MathJax draws without being asked by name: roots, arrows that stretch, the minus, the asterisk, large operators.
ALWAYS = set("−∗∙∘√∏∑∫∣∥∼≠≤≥ℎ←↑→↓↔↕⇐⇑⇒⇓⇔⇕")


#: Blocks of signs that only their commands ask for; the last is MathJax's own.
SIGNS = ((0x2100, 0x2300), (0x2400, 0x2700), (0x2A00, 0x2B00), (0xE000, 0xF900))


def used(alphabet: str, text: str) -> set[str]:
    """The letters and digits that stand in the braces of an alphabet's commands, or alone after one."""
    found = re.findall(rf"\\(?:{alphabet.replace(' ', '|')})(?![A-Za-z])\s*(?:\{{([^}}]*)|(\w))", text)
    return {c for braces, alone in found for c in braces + alone if c.isalnum()}


def commands(text: str) -> set[str]:
    """The names that follow a backslash."""
    return set(re.findall(r"\\([A-Za-z]+)", text))


def symbols(asked: set[str], reader: str) -> set[str]:
    """The characters that MathJax's reader of TeX, `reader`, draws for the commands `asked`, and for those they stand for."""
    known: dict[str, str] = {}
    for name, words in re.findall(r'(?<![\w$])"?(?:\\\\)?([A-Za-z]+)"?:\[?((?:"(?:[^"\\]|\\.)*",?)+)', reader):
        known[name] = known.get(name, "") + words
    found, open_, seen = set(), list(asked), set()
    while open_:
        name = open_.pop()
        if name not in seen:
            seen.add(name)
            words = known.get(name, "")
            found |= {chr(int(code, 16)) for code in re.findall(r"\\u([0-9a-f]{4})", words)}
            open_ += re.findall(r"\\\\([A-Za-z]+)", words)
    return found


def glyphs(font: str, reader: str, text: str) -> str:
    """MathJax's font with the outlines that formulas in `text` can ask for.

    Letters, digits, accents and brackets stay; an alphabet stays where one of its commands occurs, a sign where its command
    or itself does. What is missing MathJax draws in a font of the browser.
    """
    asked = commands(text)
    kept = {name for name, (words, _) in ALPHABETS.items() if asked & set(words.split())}
    dropped = {table for name, (_, tables) in ALPHABETS.items() if name not in kept for table in tables.split()}
    signs = ALWAYS | symbols(asked, reader) | {c for c in text if ord(c) >= 0x2100}
    signs |= {c for name in kept for c in LETTERLIKE.get(name, "")}
    letters = {name: used(ALPHABETS[name][0], text) for name in ("blackboard", "calligraphic")}

    def stays(code: int) -> bool:
        if code >= 0x1D400:
            name = next((name for last, name in PLANE if code <= last), "")
            letter = name not in letters or unicodedata.normalize("NFKC", chr(code)) in letters[name]
            return name == "" or (name in kept and letter) or chr(code) in signs
        if any(first <= code < end for first, end in SIGNS):
            return chr(code) in signs or "not" in asked
        return True

    def outlines(table):
        if table[1] in dropped:
            return table[0].partition("{")[0] + "{"
        only = letters["calligraphic"] if table[1] == "texCalligraphic" else None

        def outline(entry):
            code = int(float(entry[1]))
            return entry[0] if (stays(code) if only is None else chr(code) in only) else ""

        return re.sub(r'([\de]+):"[^"\\]*",?', outline, table[0])

    return re.sub(r'T\.(\w+)=\(0,H\.AddPaths\)\(V\.\w+,\{(?:[\de]+:"[^"\\]*",?)*', outlines, font)


def styles(sheet: str, classes: set[str], beginnings: tuple[str, ...] = ()) -> str:
    """A style sheet without the rules that need a class which is not in `classes` and begins with none of `beginnings`."""

    def matches(selector) -> bool:
        names = [name.value for dot, name in pairwise(selector) if dot == "." and name.type == "ident"]
        return all(name in classes or name.startswith(beginnings) for name in names)

    def rule(node) -> str:
        if node.type == "qualified-rule":
            selectors, part = [], []
            for token in [*node.prelude, None]:
                if token is None or token == ",":
                    selectors.append(part)
                    part = []
                else:
                    part.append(token)
            kept = [tinycss2.serialize(s).strip() for s in selectors if matches(s)]
            return f"{','.join(kept)}{{{tinycss2.serialize(node.content).strip()}}}\n" if kept else ""
        if node.type == "at-rule" and node.lower_at_keyword in ("media", "supports") and node.content is not None:
            inner = "".join(map(rule, tinycss2.parse_rule_list(node.content, skip_comments=True, skip_whitespace=True)))
            return f"@{node.at_keyword}{tinycss2.serialize(node.prelude)}{{{inner}}}\n" if inner else ""
        return node.serialize() + "\n"

    return "".join(map(rule, tinycss2.parse_stylesheet(sheet, skip_comments=True, skip_whitespace=True)))


def drawing(svg: str) -> str:
    """A drawing of Matplotlib's at a hundredth of a point, a style that all marks of a group share written once."""

    def short(attribute):
        return re.sub(r"\d+\.\d{3,}", lambda n: f"{float(n[0]):.2f}".rstrip("0").rstrip("."), attribute[0])

    svg = re.sub(r"<!--.*?-->", "", svg, flags=re.DOTALL)
    svg = re.sub(r' (?:d|x|y)="[^"]*"', short, svg)
    svg = re.sub(r">\s+<(?!/?t(?:ext|span))", ">\n<", svg)
    marks = r'<g((?:(?! style=)[^>])*)>\n((?:<use [^>]*? style="([^"]*)"/>\n)(?:<use [^>]*? style="\3"/>\n)+)</g>'

    def group(found):
        style = f' style="{found[3]}"'
        return f"<g{found[1]}{style}>\n{found[2].replace(style, '')}</g>"

    return re.sub(marks, group, svg)


#: What a card says of colours where no style sheet is, as in a notebook; book.css says it for all strips.
PAINT = r'(<(?:rect class="region"|line class="edge")[^>]*?) (?:fill|stroke)="currentColor" (?:fill|stroke)-opacity="[\d.]+"'


def lighten(app, error) -> None:
    """Of a built site: pages without Sphinx's span around every word of code, glyphs and rules that the pages ask for, drawings.

    A changed style sheet gets a new address, since browsers keep the old one.
    """
    site, static = Path(app.outdir), Path(app.outdir) / "_static"
    if error is not None or app.builder.format != "html" or not static.is_dir():
        return
    old = {path: path.read_text(encoding="utf-8") for path in sorted(site.rglob("*.html"))}
    pages = {path: re.sub(r'<span class="pre">([^<]*)</span>', r"\1", text) for path, text in old.items()}
    pages = {path: re.sub(PAINT, r"\1", text) for path, text in pages.items()}
    scripts = [path.read_text(encoding="utf-8") for path in static.rglob("*.js") if "mathjax" not in path.parts]
    font, reader = static / "mathjax/output/svg/fonts/tex.js", static / "mathjax/input/tex.js"
    if font.is_file():
        full, commands_of = font.read_text(encoding="utf-8"), reader.read_text(encoding="utf-8")
        font.write_text(glyphs(full, commands_of, "\n".join([*pages.values(), *scripts])), encoding="utf-8")
    inline = [script for text in pages.values() for script in re.findall(r"<script.*?</script>", text, re.DOTALL)]
    words = {word for script in (*scripts, *inline) for word in re.findall(r"[\w-]+", script)}
    given = {name for text in pages.values() for of in re.findall(r'class="([^"]*)"', text) for name in of.split()}
    beginnings = tuple(sorted(word for word in words if len(word) > 2 and word.endswith("-")))
    for path in sorted(static.rglob("*.css")):
        sheet = styles(path.read_text(encoding="utf-8"), words | given, beginnings)
        path.write_text(sheet, encoding="utf-8")
        address = rf"({re.escape(path.relative_to(static).as_posix())}\?(?:digest|v)=)\w+"
        digest = sha256(sheet.encode()).hexdigest()[:20]
        pages = {page: re.sub(address, rf"\g<1>{digest}", text) for page, text in pages.items()}
    for path, text in pages.items():
        if text != old[path]:
            path.write_text(text, encoding="utf-8")
    for path in (site / "_images").glob("*.svg"):
        path.write_text(drawing(path.read_text(encoding="utf-8")), encoding="utf-8")


def setup(app):
    app.connect("build-finished", lighten, priority=900)  # after all that writes pages
