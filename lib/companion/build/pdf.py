"""The whole book as one PDF: the articles of all pages, joined in the order of the contents, printed by a headless Chromium."""

import os
import re
import shutil
import tempfile
from pathlib import Path, PurePosixPath

from companion.errors import BookError

CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
FRONT = "chapters/index.html"
ARTICLE = re.compile(r'<article class="bd-article">(.*)</article>', re.DOTALL)
STYLE = """<style>
:is(.bd-main, .bd-content, .bd-article-container) { display: block !important; }
.bd-article + .bd-article { break-before: page; }
</style>"""
FOOTER = '<div style="width: 100%; text-align: center; font: 8pt sans-serif"><span class="pageNumber"></span></div>'


def chromium() -> str:
    """The path of an installed Chromium. BookError where there is none."""
    if path := next(filter(None, map(shutil.which, CHROMIUM)), None):
        return path
    raise BookError(f"no browser to print with; install one of {', '.join(CHROMIUM)}")


def order(html: Path) -> list[str]:
    """The pages of the book from the front page on, each linked from the one before it."""
    names = [FRONT]
    while link := re.search(r'<link rel="next"[^>]* href="([^"]+)"', (html / names[-1]).read_text(encoding="utf-8")):
        names.append((PurePosixPath(names[-1]).parent / link[1]).as_posix())
    return names


def joined(pages: dict[str, str]) -> str:
    """One page out of many: name -> HTML. Identifiers get the page's name before them, so that links stay within it."""
    known, articles = {PurePosixPath(name).name for name in pages}, []
    for name, text in pages.items():
        page = PurePosixPath(name).name

        def link(found, page=page):
            target, _, anchor = found[2].partition("#")
            if target and target not in known:
                return found[0]
            target = PurePosixPath(target or page).stem
            return f'{found[1]}"#{target}{f"--{anchor}" if anchor else ""}"'

        stem = PurePosixPath(page).stem
        article = re.sub(r"<script\b.*?</script>", "", ARTICLE.search(text)[1], flags=re.DOTALL)
        article = re.sub(r'( (?:xlink:)?href=)"([^":]*)"', link, article)
        article = re.sub(r'( (?:id|for|aria-labelledby)=)"([^" ]+)"', rf'\1"{stem}--\2"', article)
        article = re.sub(r"url\(#([^)]+)\)", rf"url(#{stem}--\1)", article)
        articles.append(f'<article class="bd-article" id="{stem}">{article}</article>')
    head = next((text for text in pages.values() if "mathjax/startup" in text), pages[FRONT])
    head = re.sub(r"<script[^>]*explorer[^>]*></script>", "", head.partition("<head>")[2].partition("</head>")[0])
    return (
        f'<!doctype html><html lang="en" data-content_root="../" data-theme="light" data-mode="light"><head>{head}{STYLE}'
        '</head><body><main class="bd-main"><div class="bd-content"><div class="bd-article-container">'
        f"{''.join(articles)}</div></div></main></body></html>"
    )


def write(html: Path, target: Path) -> int:
    """Print the built site in `html` to `target`; the number of its pages that were joined."""
    from playwright.sync_api import sync_playwright  # slow to import, and nothing else in a build needs it

    browser_path, names = chromium(), order(html)
    text = joined({name: (html / name).read_text(encoding="utf-8") for name in names})
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        for part in ("_static", "_images"):
            (Path(folder) / part).symlink_to((html / part).resolve())
        page_file = Path(folder) / "chapters" / "book.html"
        page_file.parent.mkdir()
        page_file.write_text(text, encoding="utf-8")
        browser = playwright.chromium.launch(executable_path=browser_path, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(color_scheme="light")
        page.set_default_timeout(0)
        page.goto(page_file.as_uri())
        page.evaluate("() => Promise.all([window.MathJax?.startup?.promise, document.fonts.ready])")
        part = target.with_name(f".{target.name}.part")
        page.pdf(
            path=part, format="A4", tagged=True, outline=True,
            display_header_footer=True, header_template="<span></span>", footer_template=FOOTER,
        )  # fmt: skip
        browser.close()
    os.replace(part, target)
    return len(names)
