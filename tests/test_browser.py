"""The browser that other tests trust reports what a page does."""

from __future__ import annotations

from pathlib import Path

import pytest

from browser import Browser


@pytest.mark.browser
def test_a_page_that_misbehaves_is_seen(browser: Browser, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text(
        "<!doctype html><meta name=viewport content='width=device-width'>"
        "<div style='width: 900px'>wide</div><img src='http://127.0.0.1:9/x.png'>"
        "<script>console.error('so'); undefined.x</script>"
    )

    seen = browser.open(page.as_uri(), width=390)

    assert [page.as_uri(), "http://127.0.0.1:9/x.png"] == seen.requests
    assert len(seen.errors) >= 3
    assert seen.width >= 900


@pytest.mark.browser
def test_a_page_that_behaves_is_seen(browser: Browser, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text("<!doctype html><meta name=viewport content='width=device-width'><p>well")

    seen = browser.open(page.as_uri(), width=390)

    assert [page.as_uri()] == seen.requests
    assert seen.errors == []
    assert seen.width == 390
    assert browser.evaluate("document.body.innerText") == "well"
