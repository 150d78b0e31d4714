"""From executed notebooks to the site: assemble the source tree, build it strictly, check it, put it in place as a whole."""

import json
import os
import posixpath
import re
import shutil
import subprocess
import sys
import zipfile
from html.parser import HTMLParser
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

import yaml

from companion.errors import BookError
from companion.evidence import races
from companion.evidence.cards import card
from companion.evidence.verdict import MIME

from . import replication
from .book import Book, read_yaml
from .notebooks import is_notebook

NOT_PUBLISHED = ("smoke.yml", "sweep.yml", "claims.yml", "replication.json", ".ipynb_checkpoints", "__pycache__")
SMOKE = (
    "Smoke profile: small sizes, for tests only. The numbers and verdicts on these pages are not the published ones."
)


def pages(book: Book) -> list[Path]:
    """Every file below chapters/ that belongs to the site and is no chapter: pages, pictures, styles, literature."""
    home = book.root / "chapters"
    chapters = {home / f"{name}.md" for name in book.chapters}
    return sorted(
        path
        for path in home.rglob("*")
        if path.is_file()
        and path not in chapters
        and not any(part in NOT_PUBLISHED or part.startswith(".") for part in path.relative_to(home).parts)
        and path.suffix != ".ipynb"
        and not (path.suffix == ".md" and is_notebook(path))
    )


def assemble(book: Book, executed: Path, generated: Path, target: Path) -> None:
    """Mirror the book's sources in `target`, with executed notebooks in place of the chapters' texts.

    Cards are drawn again, with what replications under other seeds said of their verdicts.
    """
    shutil.rmtree(target, ignore_errors=True)
    for path in pages(book):
        copy = target / path.relative_to(book.root)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)
    shutil.copytree(generated, target / "chapters" / "_generated")
    shutil.copyfile(book.root / "_toc.yml", target / "_toc.yml")
    config = read_yaml(book.root / "_config.yml") or {}
    if book.profile == "smoke":
        options = config.setdefault("sphinx", {}).setdefault("config", {}).setdefault("html_theme_options", {})
        options["announcement"] = SMOKE
    (target / "_config.yml").write_text(yaml.safe_dump(config, allow_unicode=True, sort_keys=False), encoding="utf-8")
    replications = replication.read(book.root)
    for chapter in book.chapters:
        notebook = json.loads((executed / f"{chapter}.ipynb").read_text(encoding="utf-8"))
        for cell in (c for c in notebook["cells"] if "outputs" in c):
            # the page of difficulties has read them; MyST-NB does not know them
            cell["outputs"] = [out for out in cell["outputs"] if races.MIME not in out.get("data", {})]
            for out in cell["outputs"]:
                verdict = out.get("data", {}).pop(MIME, None)  # the ledger has read it; MyST-NB does not know it
                if verdict and (same := replication.replicated(replications, verdict)):
                    out["data"]["text/html"] = card(verdict | {"replication": same})
        (target / "chapters" / f"{chapter}.ipynb").write_text(
            json.dumps(notebook, ensure_ascii=False), encoding="utf-8"
        )


def build(book: Book, source: Path, work: Path) -> tuple[Path, list[str]]:
    """A strict build (-W -n) of `source`: the folder of its pages and every fault, each with its place in the text."""
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    jupyter_book = [sys.executable, "-c", "from jupyter_book.cli.main import main; main()", "build", "."]
    run = subprocess.run(
        [*jupyter_book, "--all", "-W", "-n", "--keep-going", "--path-output", str(work.resolve())],
        cwd=source,
        capture_output=True,
        text=True,
        encoding="utf-8",
    )
    log = re.sub(r"\x1b\[[0-9;]*m", "", run.stdout + "\n" + run.stderr)
    warnings = []
    for line in log.splitlines():
        if re.search(r"\b(WARNING|ERROR|CRITICAL|SEVERE)\b:", line):
            warnings.append(line)
        elif warnings and warnings[-1].endswith("raised:") and re.match(r"\w+Error: ", line):
            warnings[-1] += f" {line}"  # the end of a traceback
    html = work / "_build" / "html"
    if run.returncode and not warnings:
        raise BookError(f"the pages cannot be built:\n{log[-2000:]}")
    for template in (html / "_static").glob("*macros.html"):
        template.unlink()  # the theme leaves its own templates among the pages
    shutil.copyfile(source / "chapters" / "_generated" / "verdicts.json", html / "verdicts.json")
    return html, list(dict.fromkeys([locate(book, source, line) for line in warnings])) + problems(html)


def locate(book: Book, source: Path, line: str) -> str:
    """A warning of Sphinx with the place in the chapter's text instead of the place in the assembled tree."""
    line = line.replace(f"{source.resolve()}/", "")
    if not (found := re.match(r"(chapters/(\S+)\.ipynb):(\d+): (.*)", line)):
        return line
    path, name, number, message = found[1], found[2], int(found[3]), found[4]
    cells = json.loads((source / path).read_text(encoding="utf-8"))["cells"]
    index, row = divmod(number, 10000)  # so MyST-NB counts cells, from 1, and lines, from 2
    block = "".join(cells[index - 1]["source"]) if 0 < index <= len(cells) else ""
    text = (book.root / "chapters" / f"{name}.md").read_text(encoding="utf-8")
    if not block or (start := text.find(block)) < 0:
        return f"chapters/{name}.md, cell {index}: {message}"
    offset, quoted = max(row - 2, 0), [a or b for a, b in re.findall(r"'([^']+)'|\"([^\"]+)\"", message)]
    lines = enumerate(block.splitlines())
    offset = next((n for n, content in lines if n >= offset and any(q in content for q in quoted)), offset)
    return f"chapters/{name}.md, line {text.count(chr(10), 0, start) + 1 + offset}: {message}"


class Page(HTMLParser):
    """Anchors, links and pictures of one HTML page, each with its line."""

    def __init__(self, text: str):
        super().__init__(convert_charrefs=True)
        self.anchors, self.links, self.pictures = {"top"}, [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        attrs, line = dict(attrs), self.getpos()[0]
        self.anchors |= {attrs.get("id"), attrs.get("name") if tag == "a" else None}
        for key in ("href", "src", "data"):
            if attrs.get(key) and not (key == "data" and tag != "object"):
                self.links.append((line, tag, attrs[key]))
        if tag == "img" and attrs.get("role") != "presentation":
            self.pictures.append((line, attrs.get("src", ""), (attrs.get("alt") or "").strip()))


def problems(html: Path) -> list[str]:
    """What Sphinx does not notice: dead links and anchors, pictures without alternative text; one line each, with its place."""
    files = {p.relative_to(html).as_posix() for p in html.rglob("*") if p.is_file()}
    pages = {name: Page((html / name).read_text(encoding="utf-8")) for name in sorted(files) if name.endswith(".html")}
    lines = []
    for name, page in pages.items():
        for line, tag, url in page.links:
            if reason := _dead(name, url, files, pages):
                lines.append(f"{name}, line {line}: dead link {url!r} in <{tag}>: {reason}")
        for line, src, alt in page.pictures:
            if alt in ("", src) or PurePosixPath(alt).name == PurePosixPath(unquote(src)).name:
                lines.append(f"{name}, line {line}: the picture {src} has no alternative text; say what is to be seen")
    return lines


def _dead(name: str, url: str, files: set[str], pages: dict[str, Page]) -> str | None:
    parts = urlsplit(url)
    if parts.scheme or parts.netloc:
        return None
    if parts.path.startswith("/"):
        return "it starts at the server's root; the site must work below any path"
    target = posixpath.normpath(posixpath.join(posixpath.dirname(name), unquote(parts.path))) if parts.path else name
    if target.startswith(".."):
        return "it leaves the site"
    if target not in files:
        return "no such file"
    if parts.fragment and target in pages and unquote(parts.fragment) not in pages[target].anchors:
        return "no such anchor"
    return None


def put_in_place(html: Path, target: Path) -> None:
    """Replace `target` by the finished site; at no moment is there a half of it."""
    old = target.with_name(f".{target.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if target.exists():
        os.replace(target, old)
    os.replace(html, target)
    shutil.rmtree(old, ignore_errors=True)


def pack(html: Path, target: Path) -> None:
    """The site as one zip: sorted names, fixed dates, so that equal sites give equal archives."""
    part = target.with_name(f".{target.name}.part")
    with zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(html.rglob("*")):
            if path.is_file() and path.name != ".snakemake_timestamp":
                entry = zipfile.ZipInfo(f"{target.stem}/{path.relative_to(html).as_posix()}", (2020, 1, 1, 0, 0, 0))
                entry.compress_type, entry.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
                archive.writestr(entry, path.read_bytes())
    os.replace(part, target)
