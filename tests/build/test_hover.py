"""Hover cards: what a page carries of the pages that its links lead to."""

from companion.build.hover import cards, fragments

GLOSSARY = """<dl><dt id="term-step">step<a class="headerlink" href="#term-step" title="Link">#</a></dt><dd><p>Rate times
<a class="reference internal" href="rules.html"><span class="doc">direction</span></a>, \\(x\\).</p></dd></dl>"""
RULES = """<p>A <a class="reference internal" href="glossary.html#term-step">step</a>, see
<a class="reference internal" href="#bound">Theorem 1</a> and <a class="reference internal" href="glossary.html#top">all</a>.</p>
<div class="proof theorem admonition" id="bound"><p class="admonition-title">Theorem 1</p><section class="theorem-content">
<p>It is bounded.</p><div class="math" id="equation-b">\\[x\\]</div></section>
</div><div class="proof proof-text admonition"><p>Proof. Clear.</p></div>"""
OTHER = '<a class="reference internal" href="../rules.html#bound">T</a>'


def test_a_term_comes_with_its_name_and_definition_and_without_links():
    assert fragments(GLOSSARY)["term-step"] == (
        '<p><strong>step</strong></p><p>Rate times\n<span class="doc">direction</span>, \\(x\\).</p>'
    )


def test_a_proposition_comes_whole_without_its_proof_and_without_ids():
    text = fragments(RULES)["bound"]
    assert "It is bounded." in text
    assert '<div class="math">\\[x\\]</div>' in text
    assert "Clear" not in text


def test_a_page_carries_what_its_own_links_need_and_nothing_else():
    found = cards({"rules.html": RULES, "glossary.html": GLOSSARY, "deep/other.html": OTHER})
    assert {name: set(texts) for name, texts in found.items()} == {
        "rules.html": {"glossary.html#term-step", "#bound"},
        "deep/other.html": {"../rules.html#bound"},
    }
