"""A real browser on the built book, opened from the disk. Each page is visited once; the tests read what was seen."""

import os
from pathlib import Path

import pytest

from browsing import HTML, Visit, look, page_names
from companion.build import pdf
from companion.errors import BookError


def pytest_generate_tests(metafunc):
    if "name" in metafunc.fixturenames:
        metafunc.parametrize("name", page_names() or [pytest.param("", id="no pages")])


@pytest.hookimpl(tryfirst=True)  # before xdist reads the groups
def pytest_collection_modifyitems(items):
    """All of a page on one worker, which visits it once; other tests stay with their file."""
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.site)
            parameters = item.callspec.params if hasattr(item, "callspec") else {}
            item.add_marker(pytest.mark.xdist_group(parameters.get("name", item.path.name)))


@pytest.fixture(scope="session")
def browser():
    """The system's Chromium. Without it, or without a built book, these tests skip; where CI=true they fail."""
    missing = None
    try:
        path = pdf.chromium()
    except BookError as error:
        missing = str(error)
    if not (HTML / "index.html").is_file():
        missing = f"no built book in {HTML.name}/; run make book first"
    if missing and os.environ.get("CI", "").lower() == "true":
        pytest.fail(missing)
    if missing:
        pytest.skip(missing)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        options = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        chromium = playwright.chromium.launch(executable_path=path, args=options)
        yield chromium
        chromium.close()


@pytest.fixture(scope="session")
def context(browser):
    context = browser.new_context(
        viewport={"width": 1280, "height": 900}, color_scheme="light", reduced_motion="reduce"
    )
    yield context
    context.close()


@pytest.fixture
def page(context):
    page = context.new_page()
    yield page
    page.close()


@pytest.fixture(scope="session")
def visit(context):
    """visit(name): what was seen on a page; the second call returns the report of the first."""
    seen: dict[str, Visit] = {}

    def once(name: str) -> Visit:
        if name not in seen:
            seen[name] = look(context, name)
        return seen[name]

    return once
