"""The report's page in a real browser: it asks for nothing, complains of nothing, and fits."""

from __future__ import annotations

from pathlib import Path

import pytest

from browser import Browser
from opsctl.areas.healthcheck import windows
from opsctl.areas.healthcheck.history import gather
from opsctl.areas.healthcheck.objectives import judge
from opsctl.areas.healthcheck.report import HealthReport, describe
from planted import DAY_S, NOON, World, schedule, took

HOSTILE = (
    "</style><script>console.error('ran')</script><img src=http://192.0.2.1/x onerror=alert(1)>"
    "\u202egnp.exe 'a\" " + "x" * 120
)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A month of checks of every kind: well, ill, slow, blind, hostile, and many more."""
    world = World(tmp_path_factory.mktemp("page"))
    begin = NOON - 30 * DAY_S
    call = world.call(health=[{"name": "new", "url": "https://www.example.com/"}])
    windows.add(call, begin="2026-08-20T00:00", end="2026-08-22T00:00", reason=HOSTILE)
    world.plant("health", begin, NOON, took_ms=lambda at: 60 + at % 97,
                blind=[(NOON - 9 * DAY_S, NOON - 7 * DAY_S)])  # fmt: skip
    world.plant("selftest", begin, NOON, took_ms=lambda at: 250 + at % 301,
                down=[(NOON - day * DAY_S, NOON - day * DAY_S + 1500) for day in range(1, 12)]
                + [(NOON - 5 * DAY_S, NOON - 3 * DAY_S)])  # fmt: skip
    world.plant(HOSTILE, begin, NOON, every_s=1800)
    world.keep(took("state", moment, None) for moment in schedule(begin, NOON, 600))
    for number in range(45):
        world.plant(f"endpoint {number:02}", begin, NOON, every_s=1800)
    history = gather(call, begin=begin, end=NOON)
    objectives = call.environment.objectives.model_copy(update={"coverage": 0.1})
    checks = tuple(judge(each, objectives) for each in history.checks)
    path = world.root / "page.html"
    report = describe(HealthReport("production", history, objectives, checks))
    path.write_text(report.own["html"]())
    return path


@pytest.mark.browser
@pytest.mark.parametrize("width", [390, 768, 1440])
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_the_page_asks_for_nothing_and_fits(
    browser: Browser, page: Path, width: int, dark: bool
) -> None:
    seen = browser.open(page.as_uri(), width=width, dark=dark)

    assert seen.requests == [page.as_uri()]
    assert seen.errors == []
    assert seen.width == width
    assert browser.evaluate("document.scripts.length") == 0
    assert browser.evaluate("document.querySelectorAll('section.card').length") == 50


@pytest.mark.browser
@pytest.mark.parametrize("width", [390, 1440])
def test_nothing_on_the_page_is_too_small_or_cut_off(
    browser: Browser, page: Path, width: int
) -> None:
    browser.open(page.as_uri(), width=width)

    smallest = browser.evaluate(
        "Math.min(...[...document.querySelectorAll('main *')].filter(e => e.childNodes.length &&"
        "[...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim()) &&"
        "!e.closest('svg')).map(e => parseFloat(getComputedStyle(e).fontSize)))"
    )
    outside = browser.evaluate(
        "[...document.querySelectorAll('main *')].filter(e => {const b = "
        "e.getBoundingClientRect(); return b.right > innerWidth + 0.5 || b.left < -0.5})"
        ".map(e => e.outerHTML.slice(0, 200))"
    )
    plots = browser.evaluate(
        "[...document.querySelectorAll('svg')].map(e => {const b = e.getBoundingClientRect();"
        "return Math.min(b.width / 100, b.height / 10)})"
    )

    assert smallest >= 11
    assert outside == []
    assert len(plots) > 60
    assert min(plots) >= 1


@pytest.mark.browser
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_every_word_can_be_told_from_its_ground(browser: Browser, page: Path, dark: bool) -> None:
    """The contrast of WCAG 2, level AA: 4.5 for text."""
    browser.open(page.as_uri(), dark=dark)

    worst = browser.evaluate(
        """(() => {
        const numbers = text => text.match(/[\\d.]+/g).map(Number);
        const light = ([r, g, b]) => {
          const [x, y, z] = [r, g, b].map(v => (v /= 255) <= .04045 ? v / 12.92
            : ((v + .055) / 1.055) ** 2.4);
          return .2126 * x + .7152 * y + .0722 * z; };
        const ground = e => { for (; e; e = e.parentElement) {
          const c = numbers(getComputedStyle(e).backgroundColor);
          if (c.length === 3 || c[3] > 0) return c; } return [255, 255, 255]; };
        return [...document.querySelectorAll('main *')].filter(e => !e.closest('svg') &&
          [...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim())).map(e => {
          const a = light(numbers(getComputedStyle(e).color)), b = light(ground(e));
          return [(Math.max(a, b) + .05) / (Math.min(a, b) + .05), e.outerHTML.slice(0, 120)];
        }).sort((a, b) => a[0] - b[0])[0]; })()"""
    )

    assert worst[0] >= 4.5, worst[1]


def test_what_comes_from_outside_is_escaped_and_shown(page: Path) -> None:
    text = page.read_text()

    assert "<script" not in text
    assert "&lt;script&gt;" in text
    assert "\u202e" not in text
    assert "<img" not in text
