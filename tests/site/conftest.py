"""A real browser on the built book, opened from the disk. Each page is visited once; the tests read what was seen."""

import json
import os
from dataclasses import asdict
from pathlib import Path

import pytest
from filelock import FileLock

from browsing import HTML, Visit, look, page_names
from companion.build import pdf
from companion.errors import BookError


def pytest_generate_tests(metafunc):
    if "name" in metafunc.fixturenames:
        metafunc.parametrize("name", page_names() or [pytest.param("", id="no pages")])


def pytest_collection_modifyitems(items):
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.site)


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
def visit(context, tmp_path_factory):
    """visit(name): what was seen on a page; one worker looks, and all others read its report."""
    folder = tmp_path_factory.getbasetemp()
    shared = folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder

    def once(name: str) -> Visit:
        report = shared / f"{name.replace('/', ' ')}.json"
        with FileLock(f"{report}.lock"):
            if not report.is_file():
                report.write_text(json.dumps(asdict(look(context, name))), encoding="utf-8")
        return Visit(**json.loads(report.read_text(encoding="utf-8")))

    return once
