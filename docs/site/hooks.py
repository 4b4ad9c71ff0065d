"""Make the site of what lies outside docs/, too: README, runbooks, examples and the program.

MkDocs calls these functions. A page keeps the links that it has in the repository; they are
turned to the site's places here, and a link that leads nowhere fails the build.
"""

from __future__ import annotations

import posixpath
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
COPIED = {
    "ARCHITECTURE.md": "architecture.md",
    "CHANGELOG.md": "changelog.md",
    ".github/SECURITY.md": "threats.md",
}
"""Pages by their place in the repository: where they lie on the site."""
EXAMPLES = ("docs/examples", "reference/ci-examples.md")
SETTINGS = ("config/opsctl.example.yaml", "reference/settings-example.md")
README_PAGES = {"what-it-needs": "installing.md"}
"""Headings of the README that are a page of their own."""
LANGUAGES = {".sh": "bash", ".yml": "yaml", ".yaml": "yaml"}
EXPLANATION = (
    "why.md",
    "threats.md",
    "architecture.md",
    "comparison.md",
    "benchmarks.md",
    "runbook-coverage.md",
    "changelog.md",
)


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Make the menu: a new runbook, room or document needs no line of its own."""
    runbooks = [f"runbooks/{path.name}" for path in _runbooks()]
    rooms = [place for place in _reference() if place != "reference/index.md"]
    examples = [SETTINGS[1], EXAMPLES[1]]
    named = {"index.md", "tutorial.md", "installing.md", *EXPLANATION}
    more = [path.name for path in sorted((ROOT / "docs").glob("*.md")) if path.name not in named]
    config.nav = [
        {"Home": "index.md"},
        {"Tutorial": "tutorial.md"},
        {"How-to": ["runbooks/index.md", "installing.md", *runbooks]},
        {"Reference": ["reference/index.md", *rooms, *examples]},
        {"Explanation": [*EXPLANATION, *more]},
    ]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that do not lie in docs/."""
    from mkdocs.structure.files import File

    for place, text in _pages().items():
        files.append(File.generated(config, place, content=text))
    return files


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """Put the README's parts where they are asked for, and turn links to the site's places."""
    place = page.file.src_uri
    if place.startswith("reference/"):
        return markdown
    origin = _origin(place)
    pieces = re.split(r"^<!-- README: (.+) -->$", markdown, flags=re.MULTILINE)
    for index, piece in enumerate(pieces):
        if index % 2:
            pieces[index] = turn_links(readme_part(piece), origin="README.md", place=place)
        else:
            pieces[index] = turn_links(piece, origin=origin, place=place)
    return "".join(pieces)


def readme_part(heading: str) -> str:
    """Return the text below a heading of the README; `the head` is what stands before the first.

    Raises ValueError where there is no such heading.
    """
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    parts = re.split(r"^## (.+)$", text, flags=re.MULTILINE)
    named = {"the head": parts[0].partition("\n")[2]}
    named |= dict(zip(parts[1::2], parts[2::2], strict=True))
    if heading not in named:
        raise ValueError(f"the README has no heading {heading!r}; it has {', '.join(named)}")
    return named[heading].strip()


def turn_links(text: str, *, origin: str, place: str) -> str:
    """Turn links that count from a file of the repository into those of a page of the site."""

    def turned(match: re.Match[str]) -> str:
        target, sharp, anchor = match.group(2).partition("#")
        if not target or re.match(r"[a-z]+:", target):
            return match.group(0)
        there = posixpath.normpath(posixpath.join(posixpath.dirname(origin), target))
        if there == "README.md" and anchor in README_PAGES:
            there, sharp, anchor = README_PAGES[anchor], "", ""
        link = posixpath.relpath(_place(there), posixpath.dirname(place) or ".")
        return f"{match.group(1)}({link}{sharp}{anchor})"

    fenced = re.split(r"(^```.*?^```$)", text, flags=re.MULTILINE | re.DOTALL)
    return "".join(
        part if index % 2 else re.sub(r"(\])\(([^)\s]+)\)", turned, part)
        for index, part in enumerate(fenced)
    )


def _place(path: str) -> str:
    """Return where a file of the repository lies on the site."""
    known = {**COPIED, **dict((EXAMPLES, SETTINGS)), "README.md": "index.md"}
    return known.get(path, path.removeprefix("docs/"))


def _origin(place: str) -> str:
    """Return the file of the repository that a page of the site is."""
    back = {site: path for path, site in COPIED.items()}
    return back.get(place, place if place.startswith("runbooks/") else f"docs/{place}")


def _pages() -> dict[str, str]:
    """Return the text of every page that does not lie in docs/, by its place."""
    pages = {f"runbooks/{path.name}": path.read_text("utf-8") for path in _runbooks()}
    pages |= {place: (ROOT / path).read_text("utf-8") for path, place in COPIED.items()}
    pages |= _reference()
    pages["runbooks/index.md"] = _how_to()
    settings = _shown(ROOT / SETTINGS[0])
    pages[SETTINGS[1]] = f"# Every setting, with a comment\n\n{settings}"
    examples = sorted(path for path in (ROOT / EXAMPLES[0]).iterdir() if path.is_file())
    texts = [f"## {path.name}\n\n{_shown(path)}" for path in examples]
    pages[EXAMPLES[1]] = "\n".join(("# Examples for continuous integration\n", *texts))
    return pages


def _how_to() -> str:
    """Return the page that lists the runbooks, each with when to use it."""
    lines = [
        "# How to",
        "",
        "First comes [installing](../README.md#what-it-needs).",
        "Each of these is a runbook: `opsctl runbook run NAME` carries it out.",
        "",
        "| runbook | when |",
        "|---|---|",
    ]
    for path in _runbooks():
        text = path.read_text("utf-8")
        front = re.match(r"---\n(.*?)\n---\n", text, flags=re.DOTALL)
        _, _, body = text[front.end() if front else 0 :].partition("# ")
        title, _, body = body.partition("\n")
        given = re.search(r"^when: (.+)$", front.group(1), re.MULTILINE) if front else None
        first = next((line for line in body.splitlines() if line and line[0].isalpha()), "")
        lines.append(f"| [{title}]({path.name}) | {given.group(1) if given else first} |")
    return "\n".join(lines) + "\n"


def _runbooks() -> list[Path]:
    return sorted((ROOT / "runbooks").glob("*.md"))


def _reference() -> dict[str, str]:
    sys.path.insert(0, str(HERE))
    try:
        import reference
    finally:
        sys.path.remove(str(HERE))
    pages: dict[str, str] = reference.pages()
    return pages


def _shown(path: Path) -> str:
    """Return a file as a block of code."""
    return f"```{LANGUAGES[path.suffix]}\n{path.read_text('utf-8').rstrip()}\n```\n"
