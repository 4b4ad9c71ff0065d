"""A real browser opens the treemap: it asks for nothing, complains of nothing, and is readable."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from browser import Browser

from .conftest import Project
from .test_check import grow
from .test_served import segment, source_map

MARKUP = "</script><img src=x onerror=alert(1)>"
_OVERLAPS = """
(() => {
  // Every label of a box fits into that box.
  const out = [];
  for (const group of document.querySelectorAll('.map g')) {
    const box = group.querySelector('rect').getBoundingClientRect();
    for (const text of group.querySelectorAll(':scope > text')) {
      const at = text.getBoundingClientRect();
      if (at.left < box.left - 1 || at.right > box.right + 1 || at.bottom > box.bottom + 1)
        out.push(text.textContent);
    }
  }
  return out;
})()
"""
_SMALLEST_TEXT = """
Math.min(...[...document.querySelectorAll('.map text, .name, .size, .number span, footer, p')]
  .map((node) => parseFloat(getComputedStyle(node).fontSize)))
"""


@pytest.fixture
def page(project: Project) -> Path:
    """A treemap of a build with modules, growth, and names that are markup."""
    sources = [f"../../node_modules/{name}/index.js" for name in ("react", "ms")]
    mappings = ",".join([segment(0, 0, 0, 0), segment(12_000, 1, 0, 0)])
    project.write("dist/assets/shared.js.map", json.dumps(source_map(sources, mappings)))
    base = grow(project)
    project.page("deep/<b>/index.html", "assets/shared.js", "assets/about.js")
    project.settings(build="dist")
    path = project.folder / "page.html"
    assert project.check("--base", base, "--html", str(path))[0] == 0
    return path


@pytest.mark.browser
@pytest.mark.parametrize(("width", "dark"), [(390, False), (1440, False), (1440, True)])
def test_the_treemap_is_readable(page: Path, browser: Browser, width: int, dark: bool) -> None:
    seen = browser.open(page.as_uri(), width=width, dark=dark)

    assert seen.requests == [page.as_uri()]
    assert seen.errors == []
    assert seen.width == width
    assert browser.evaluate("document.querySelectorAll('.map > g').length") >= 5
    assert browser.evaluate("document.querySelectorAll('.route').length") == 3
    assert browser.evaluate(_OVERLAPS) == []
    assert browser.evaluate(_SMALLEST_TEXT) >= 11
    assert "react" in browser.evaluate("document.querySelector('.map').textContent")
    assert browser.evaluate("document.body.innerText").count("+") >= 1


@pytest.mark.browser
def test_a_route_and_a_kind_can_be_chosen(page: Path, browser: Browser) -> None:
    browser.open(page.as_uri())
    before = browser.evaluate("document.querySelectorAll('.map > g').length")
    browser.evaluate("document.querySelector('.route').click()")

    assert browser.evaluate("document.querySelector('.head h2').textContent") == "First load of /"
    assert browser.evaluate("document.querySelectorAll('.map > g').length") < before
    browser.evaluate("document.querySelector('.map g').dispatchEvent(new Event('click'))")
    assert "loaded by" in browser.evaluate("document.querySelector('.detail').innerText")
    browser.evaluate("document.querySelectorAll('.kinds button')[0].click()")
    assert (
        browser.evaluate("document.querySelectorAll('.route .size')[0].firstChild.data")
        == "31.0 kB"
    )


@pytest.mark.browser
def test_names_are_text_and_never_markup(project: Project, browser: Browser) -> None:
    project.settings(build="dist", files={MARKUP: ["assets/*.js"]})
    path = project.folder / "page.html"
    project.check("--html", str(path))

    seen = browser.open(path.as_uri())

    assert seen.errors == []
    assert seen.requests == [path.as_uri()]
    assert browser.evaluate("document.querySelectorAll('img').length") == 0
    assert MARKUP in browser.evaluate("document.body.innerText")


def test_the_page_is_a_format_of_its_own(project: Project) -> None:
    code, text, _ = project.check("--format", "html")

    assert code == 0
    assert text.startswith("<!doctype html>")
    assert "http://" not in text.replace("http://www.w3.org/2000/svg", "")
    assert "https://" not in text
