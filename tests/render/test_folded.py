"""Detail is folded away where a format can do that, and nowhere lost."""

from __future__ import annotations

from opsctl.core.report import Report, Table
from opsctl.render.report import render_report

REPORT = Report(
    command="bundle-check",
    title="Sizes",
    tables=(
        Table("What changed", ("route",), (("/",),)),
        Table("All <routes>", ("route",), (("/about",),), folded=True),
    ),
)


def test_markdown_folds_a_table_of_detail() -> None:
    text = render_report(REPORT, "markdown")

    # The blank line makes GitHub read Markdown within.
    head = "<details><summary>All &lt;routes&gt;</summary>\n\n"
    folded = head + "| route |\n| --- |\n| /about |\n\n</details>"
    assert folded in text
    assert "### What changed" in text


def test_text_shows_it() -> None:
    assert "/about" in render_report(REPORT, "text")
