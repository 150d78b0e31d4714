"""What the build adds around the pages, on a site of two pages: downloads in plain Markdown, tags, 404, sitemap, PDF."""

import json
import re
from types import SimpleNamespace
from xml.etree import ElementTree

import pytest
from docutils import nodes
from sphinx.application import Sphinx

from companion.build import downloads, pdf
from companion.build.sphinx_extension import linked
from companion.build.sphinx_site import Excerpts
from companion.errors import BookError

NOTE = r"""(tiny-top)=
# A tiny chapter

The mean is {glue:text}`tiny:mean`, measured by {cite:t}`gauss1809` and explained in {doc}`other`; see
{numref}`tiny-fig`, {eq}`tiny-eq`, {prf:ref}`tiny-prop`, {term}`step`, {class}`~pathlib.Path` and [the top](#tiny-top).
It is {tested}`test_addresses_are_whole_where_the_site_has_one_and_absent_where_it_has_none`, as is
{tested}`a role <test_a_role_that_a_download_cannot_resolve_is_named>`. An expectation $E[x](t)$ is no link, and <a href="other.html#x">this one</a> leads to a page.

$$
x = 1
$$ (tiny-eq)

````{prf:proposition} One is one
:label: tiny-prop
It follows from {eq}`tiny-eq`.

```{prf:proof}
By inspection.
```
````

`````{dropdown} Solution
```python
1 + 1
```
`````

```{admonition} Exercise 1
Add.
```
"""
OTHER = """# Another page

This paragraph says what the page is about, for readers and for engines.

```{glossary}
step
    Rate times direction.
```

```{bibliography}
```
"""
BIB = "@book{gauss1809, author={Gauss, Carl Friedrich}, title={Theoria motus}, year={1809}, publisher={Perthes}}\n"
BASE = "https://example.org/book"


def notebook(*cells):
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    return {"cells": list(cells), "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5}


def site(folder, base):
    """A site built from a notebook, chapters/tiny, and a page, chapters/other."""
    home = folder / "src" / "chapters"
    home.mkdir(parents=True)
    glued = {
        "output_type": "display_data",
        "data": {downloads.GLUED + "text/plain": "1.00"},
        "metadata": {"scrapbook": {"name": "tiny:mean", "mime_prefix": downloads.GLUED}},
    }
    drawn = {"output_type": "display_data", "metadata": {}, "data": {"text/plain": "a picture"}}
    figure = {"mystnb": {"figure": {"caption": "By {cite:p}`gauss1809`.", "name": "tiny-fig"}}}
    cells = [
        downloads.markdown("c0", NOTE),
        {
            "cell_type": "code",
            "id": "c1",
            "source": "x",
            "metadata": figure,
            "outputs": [glued, drawn],
            "execution_count": 1,
        },
    ]
    (home / "tiny.ipynb").write_text(json.dumps(notebook(*cells)))
    (home / "other.md").write_text(OTHER)
    (home / "references.bib").write_text(BIB)
    (home.parent / "index.md").write_text("# Front\n\n```{toctree}\n:numbered:\nchapters/tiny\nchapters/other\n```\n")
    settings = {
        "extensions": [
            "sphinx.ext.autodoc",
            "sphinx_design",
            "sphinx_proof",
            "sphinxcontrib.bibtex",
            "companion.build.sphinx_extension",
        ],
        "bibtex_bibfiles": ["chapters/references.bib"],
        "bibtex_reference_style": "author_year",
        "myst_enable_extensions": ["dollarmath", "amsmath"],
        "nb_execution_mode": "off",
        "project": "A tiny book",
        "html_title": "Tiny",
        "html_baseurl": base,
        "html_sourcelink_suffix": "",
        "html_theme": "basic",
        "language": "en",
        "numfig": True,
        "math_eqref_format": "({number})",
    }
    out = folder / "html"
    app = Sphinx(str(home.parent), None, str(out), str(folder / "trees"), "html", settings, status=None, warning=None)
    app.build()
    assert app.statuscode == 0
    return out


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    return site(tmp_path_factory.mktemp("plain"), "")


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    return site(tmp_path_factory.mktemp("published"), BASE)


def text(out):
    cells = json.loads((out / "_sources" / "chapters" / "tiny.ipynb").read_text())["cells"]
    return {cell["id"]: cell["source"] for cell in cells}


def test_a_downloaded_notebook_reads_as_the_page_does(plain):
    cells = text(plain)
    words = " ".join(cells["c0"].split())
    assert "The mean is 1.00, measured by Gauss [1809] and explained in Another page" in words
    assert "see Fig. 1.1, (1.1), Proposition 1.1, step, Path and the top." in words
    assert "**Proposition 1.1** (One is one). It follows from (1.1). *Proof.* By inspection." in words
    assert r"x = 1 \tag*{(1.1)} $$" in words
    assert "<details><summary>Solution</summary> ```python 1 + 1 ``` </details>" in words
    assert "**Exercise 1** Add." in words
    assert "$E[x](t)$ is no link, and this one leads" in words
    assert "It is tested by `test_addresses_are_whole_where_the_site_has_one_and_absent_where_it_has_none`, as" in words
    assert "a role (`test_a_role_that_a_download_cannot_resolve_is_named`)." in words
    assert not re.search(r"\{[\w:]+\}`|```\{|\)=$", cells["c0"], re.MULTILINE)


def test_a_page_links_the_tests_that_it_names_to_their_source(plain):
    page = (plain / "chapters" / "tiny.html").read_text(encoding="utf-8")
    name = "test_a_role_that_a_download_cannot_resolve_is_named"
    assert f'<a class="tested" href="../tests.html#{name}" title="{name}">a role</a>' in page
    assert f'<section id="{name}">' in (plain / "tests.html").read_text(encoding="utf-8")


def test_a_caption_follows_its_figure_and_the_works_cited_come_last(plain):
    cells = text(plain)
    assert list(cells) == ["c0", "c1", "c1-caption", "works-cited"]
    assert cells["c1-caption"].endswith("By [Gauss, 1809].")
    assert "Theoria motus" in cells["works-cited"]


def test_links_of_a_download_lead_to_the_published_site(published):
    words = text(published)["c0"]
    assert f"[Another page]({BASE}/chapters/other.html)" in words
    assert f"[this one]({BASE}/chapters/other.html#x)" in words


def test_only_notebooks_are_offered_as_sources(plain):
    assert [path.name for path in (plain / "_sources").rglob("*") if path.is_file()] == ["tiny.ipynb"]


def test_a_role_that_a_download_cannot_resolve_is_named(monkeypatch):
    env = SimpleNamespace(temp_data={}, get_domain=lambda name: None, resolve_references=lambda *_: None)
    read = SimpleNamespace(children=[nodes.paragraph("", "", nodes.problematic())])
    monkeypatch.setattr(downloads.restructuredtext, "parse", lambda *_: read)
    with pytest.raises(BookError, match=r"chapters/tiny: .*\{odd\}`text`"):
        downloads.read(SimpleNamespace(env=env, builder=None), "chapters/tiny", [("odd", "text")], {})


def meta(path):
    return dict(re.findall(r'<meta (?:name|property)="([^"]+)" content="([^"]*)"', path.read_text(encoding="utf-8")))


def test_a_page_is_described_by_its_first_paragraph(plain):
    tags = meta(plain / "chapters" / "other.html")
    assert tags["description"] == "This paragraph says what the page is about, for readers and for engines."
    assert tags["og:description"] == tags["description"]
    assert "Another page" in tags["og:title"]


def test_addresses_are_whole_where_the_site_has_one_and_absent_where_it_has_none(plain, published):
    for out, there in ((plain, False), (published, True)):
        page = (out / "chapters" / "other.html").read_text(encoding="utf-8")
        assert (f'<link rel="canonical" href="{BASE}/chapters/other.html"' in page) == there
        assert (meta(out / "chapters" / "other.html").get("og:url") == f"{BASE}/chapters/other.html") == there
        assert (f'href="{BASE}/index.html"' in (out / "404.html").read_text()) == there
        assert (out / "sitemap.xml").is_file() == there
    places = [e.text for e in ElementTree.parse(published / "sitemap.xml").iter() if e.tag.endswith("loc")]
    assert places == [f"{BASE}/{name}.html" for name in ("chapters/other", "chapters/tiny", "index")]


def test_preprints_among_the_references_are_linked_once():
    done = '<a href="https://arxiv.org/abs/1412.6980">arXiv:1412.6980</a>'
    text = linked(f"<p>A. arXiv:1807.07540.</p><p>B. arXiv:math/0309285</p><p>C. {done}</p>")
    assert re.findall(r'href="([^"]+)">([^<]+)</a>', text) == [
        ("https://arxiv.org/abs/1807.07540", "arXiv:1807.07540"),
        ("https://arxiv.org/abs/math/0309285", "arXiv:math/0309285"),
        ("https://arxiv.org/abs/1412.6980", "arXiv:1412.6980"),
    ]


def test_excerpts_are_cut_at_sections_terms_and_claims():
    page = (
        '<article class="bd-article"><section id="a"><h1>A<a>#</a></h1><p>one<script>no</script></p>'
        '<dl><dt id="term-t">t</dt><dd>two</dd></dl><div class="verdict-card" id="claim-P4"><p>P4</p><p>three</p></div>'
        '<p id="x">four</p></section></article><p>outside</p>'
    )
    assert Excerpts(page).parts == [["a", "A one"], ["term-t", "t two"], ["claim-P4", "P4 three four"]]


def test_joined_pages_keep_their_links_within_the_book():
    def page(body, following=""):
        return f'<head>{following}<title>t</title></head><article class="bd-article">{body}</article>'

    pages = {
        pdf.FRONT: page('<p id="a"><a href="#a">1</a><a href="b.html#x">2</a><a href="b.html">3</a></p>'),
        "chapters/b.html": page('<p id="x"><a href="https://e.org/b.html#x">4</a><img src="../_images/i.png"></p>'),
    }
    book = pdf.joined(pages)
    assert re.findall(r'href="([^"]+)"', book) == ["#index--a", "#b--x", "#b", "https://e.org/b.html#x"]
    assert re.findall(r' id="([^"]+)"', book) == ["index", "index--a", "b", "b--x"]
    assert 'src="../_images/i.png"' in book


def test_without_a_browser_the_pdf_says_what_to_install(monkeypatch):
    monkeypatch.setattr(pdf.shutil, "which", lambda name: None)
    with pytest.raises(BookError, match="install one of chromium"):
        pdf.chromium()
