"""HTML as a test reads it: elements with their attributes, and the text."""

from html.parser import HTMLParser

VOID = {"br", "img", "input"}


class Page(HTMLParser):
    """The elements and the text of a piece of HTML; an AssertionError for a tag that is closed wrongly or never."""

    def __init__(self, html: str):
        super().__init__()
        self.open, self.elements, self.text = [], [], ""
        self.feed(html)
        self.close()
        assert not self.open, f"never closed: {self.open}"

    def handle_starttag(self, tag, attrs):
        self.handle_startendtag(tag, attrs)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        assert len(attrs) == len(dict(attrs)), f"an attribute of <{tag}> is repeated"

    def handle_endtag(self, tag):
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data

    def of(self, tag: str, **attributes) -> list[dict]:
        """The attributes of every element of this name that has these attributes."""
        return [a for t, a in self.elements if t == tag and attributes.items() <= a.items()]

    def of_class(self, name: str) -> list[dict]:
        """The attributes of every element of this class."""
        return [a for _, a in self.elements if name in (a.get("class") or "").split()]
