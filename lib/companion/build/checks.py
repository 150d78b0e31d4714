"""What Sphinx does not notice in the built pages: dead links and anchors, pictures without alternative text."""

from html.parser import HTMLParser
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit


class Page(HTMLParser):
    """Anchors, links and pictures of one HTML page, each with its line."""

    def __init__(self, text: str):
        super().__init__(convert_charrefs=True)
        self.anchors, self.links, self.pictures, self.repeated = set(), [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        attrs, line = dict(attrs), self.getpos()[0]
        if (name := attrs.get("id")) is not None:
            if name in self.anchors:
                self.repeated.append((line, name))
            self.anchors.add(name)
        if tag == "a" and attrs.get("name"):
            self.anchors.add(attrs["name"])
        for key in ("href", "src", "data"):
            if attrs.get(key) and not (key == "data" and tag != "object"):
                self.links.append((line, tag, attrs[key]))
        if tag == "img":
            self.pictures.append((line, attrs.get("src", ""), attrs.get("alt"), attrs.get("role") == "presentation"))


def problems(html: Path) -> list[str]:
    """One line per problem, each naming page and line; an empty list for a sound site."""
    files = {p.relative_to(html).as_posix() for p in html.rglob("*") if p.is_file()}
    pages = {name: Page((html / name).read_text(encoding="utf-8")) for name in sorted(files) if name.endswith(".html")}
    found = []
    for name, page in pages.items():
        for line, tag, url in page.links:
            if reason := _dead(name, url, files, pages):
                found.append(f"{name}, line {line}: dead link {url!r} in <{tag}>: {reason}")
        for line, src, alt, decoration in page.pictures:
            text = (alt or "").strip()
            if not decoration and (
                not text or text == src or PurePosixPath(text).name == PurePosixPath(unquote(src)).name
            ):
                found.append(f"{name}, line {line}: the picture {src} has no alternative text; say what is to be seen")
    return found


def _dead(name, url, files, pages) -> str | None:
    parts = urlsplit(url)
    if parts.scheme or parts.netloc or url.startswith("//"):
        return None
    target = name
    if parts.path:
        steps = []
        for step in (PurePosixPath(name).parent / unquote(parts.path)).parts:
            if step == "..":
                if not steps:
                    return "it leaves the site"
                steps.pop()
            elif step != ".":
                steps.append(step)
        target = "/".join(steps)
        if parts.path.startswith("/"):
            return "it starts at the server's root; the site must work below any path"
        if target not in files:
            return "no such file"
    if parts.fragment and target in pages and unquote(parts.fragment) not in pages[target].anchors | {"top"}:
        return "no such anchor"
    return None
