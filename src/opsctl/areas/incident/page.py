"""The post-mortem as one page of HTML: no script, no font, no picture from elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from html import escape
from itertools import pairwise

from opsctl.areas.incident.document import ended, times_of, updates_text
from opsctl.areas.incident.page_style import STYLE
from opsctl.areas.incident.review import QUESTIONS, Review
from opsctl.areas.incident.severity import MEANINGS
from opsctl.core.progress import duration
from opsctl.core.times import format_moment

_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
_OPEN = "<p class='open-question'>Not known yet.</p>"


def page(review: Review) -> str:
    """Return the whole page; everything from outside is escaped."""
    incident = review.incident
    sections = (
        ("", _course(review)),
        ("What happened", _facts(review)),
        ("Impact", _impact(review)),
        ("Timeline", _timeline(review)),
        ("What was done", _done(review)),
        ("Questions", "".join(_questions(review))),
        ("Action items", _actions(review)),
        ("Evidence", _evidence(review)),
    )
    cards = "\n".join(
        f"<section class='card'>{f'<h2>{name}</h2>' if name else ''}{body}</section>"
        for name, body in sections
        if body
    )
    unknown = "".join(f"<p>Not known: {_text(each)}</p>" for each in review.around.unknown)
    return (
        "<!doctype html>\n<html lang='en'>\n<head>\n<meta charset='utf-8'>\n"
        "<meta name='viewport' content='width=device-width, initial-scale=1'>\n"
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        f"<link rel='icon' href='data:,'>\n"
        f"<title>{_text(f'Post-mortem {incident.id}: {incident.title}')}</title>\n"
        f"<style>{STYLE}</style>\n</head>\n<body>\n<main>\n"
        f"{_header(review)}{_tiles(review)}{cards}\n"
        f"<footer>{unknown}<p>Made by opsctl from its journal, its health history and what "
        "people wrote. What nobody knew is left as a question.</p></footer>\n"
        "</main>\n</body>\n</html>\n"
    )


def _header(review: Review) -> str:
    incident = review.incident
    state = "finished" if incident.written_at is not None else "draft"
    pills = [(incident.severity, incident.severity), (state, state)]
    if incident.security:
        pills.insert(1, ("", "security"))
    return (
        f"<header><div><p class='faint'>Post-mortem · {_text(incident.id)} · "
        f"{_text(incident.environment)}</p><h1>{_text(incident.title)}</h1>"
        f"<p class='faint'>{_text(MEANINGS[incident.severity].capitalize())}</p></div>"
        f"<div class='pills' style='flex:none'>"
        + "".join(f"<span class='pill {kind}'>{_text(word)}</span>" for kind, word in pills)
        + "</div></header>\n"
    )


def _tiles(review: Review) -> str:
    cells = []
    for what, span, _ in times_of(review):
        value = f"<b>{span}</b>" if span else "<b class='open'>not known</b>"
        cells.append(f"<div class='tile'>{value}to {_TO[what]}</div>")
    arrived = f"{review.told} of {review.to_tell}"
    cells.append(f"<div class='tile'><b>{arrived}</b>messages arrived</div>")
    return f"<section class='tiles'>{''.join(cells)}</section>\n"


_TO = {"detection": "notice it", "response": "be on it", "recovery": "be well again"}


def _course(review: Review) -> str:
    """Return the course of it as one bar: unseen, unanswered, worked on, watched."""
    incident = review.incident
    points = [
        (review.began.at, "unseen", "nobody had noticed"),
        (incident.opened_at, "unanswered", "open, nobody on it"),
        (incident.responded_at, "worked", "worked on"),
        (review.recovered.at, "watched", "well again, watched"),
        (incident.resolved_at, "", ""),
    ]
    known = [(at, kind, word) for at, kind, word in points if at is not None]
    known.sort(key=lambda each: each[0])
    total = known[-1][0] - known[0][0]
    if total <= 0 or len(known) < 3:
        return ""
    bars, words = [], []
    for (at, kind, word), (after, _, _) in pairwise(known):
        if after <= at or not kind:
            continue
        bars.append(f"<i class='{kind}' style='flex:{(after - at) / total:.4f}'></i>")
        words.append(f"<span><i class='{kind}'></i>{word}, {duration(after - at)}</span>")
    return f"<div class='course'>{''.join(bars)}</div><p class='legend'>{''.join(words)}</p>"


def _facts(review: Review) -> str:
    incident = review.incident
    roles = ", ".join(f"{role} {who}" for role, who in (incident.roles or {}).items())
    began = _when(review.began.at, review.began.known_by)
    rows = [
        ("began", began),
        ("opened", f"{format_moment(incident.opened_at)} by {incident.opened_by}"),
        ("well again", _when(review.recovered.at, review.recovered.known_by)),
        ("resolved", format_moment(incident.resolved_at) if incident.resolved_at else "still open"),
        ("noticed by", incident.found_by or "not said"),
        ("people", roles or "nobody was assigned"),
        ("systems", ", ".join(incident.systems) or "not said"),
        ("communication", updates_text(review)),
    ]
    summary = f"<p>{_text(incident.summary)}</p>" if incident.summary else ""
    cells = "".join(f"<dt>{name}</dt><dd>{_text(value)}</dd>" for name, value in rows)
    return f"{summary}<dl>{cells}</dl>"


def _impact(review: Review) -> str:
    if not review.impact:
        looks = review.around.samples
        seen = f"{looks} looks were recorded and none failed" if looks else "nobody looked"
        return f"<p>The health history shows none: {seen} in that time.</p>"
    return _table(
        ("check", "failed looks", "failed for", "why", "seen well again"),
        ((each.check, str(each.failed), duration(each.seconds), ", ".join(each.reasons),
          "yes" if each.over else "no") for each in review.impact),
    )  # fmt: skip


def _timeline(review: Review) -> str:
    items, day = [], ""
    for entry in review.around.entries:
        today = time.strftime("%Y-%m-%d", time.gmtime(entry.at))
        if today != day:
            day = today
            items.append(f"<li class='day'>{day}, UTC</li>")
        clock = time.strftime("%H:%M:%S", time.gmtime(entry.at))
        by = f" <small>{_text(entry.by)}</small>" if entry.by else ""
        items.append(
            f"<li class='{'good' if entry.good else entry.source}'><time>{clock}</time><i></i>"
            f"<span>{_text(entry.text)}{by}</span></li>"
        )
    return f"<ol class='line'>{''.join(items)}</ol>"


def _done(review: Review) -> str:
    if not review.done:
        return "<p>opsctl changed nothing in that time.</p>"
    return _table(
        ("at", "what", "command", "how it ended"),
        ((time.strftime("%H:%M:%S", time.gmtime(each.at)), each.title,
          f"opsctl {each.command}", ended(each)) for each in review.done),
    )  # fmt: skip


def _questions(review: Review) -> Iterable[str]:
    answers = review.incident.answers or {}
    for question in QUESTIONS:
        said = answers.get(question.name)
        body = f"<p>{_text(said)}</p>" if said else _OPEN
        yield f"<h3>{question.text}</h3>{body}"


def _actions(review: Review) -> str:
    if not review.incident.actions:
        return "<p class='open-question'>What keeps it from coming back?</p>"
    return _table(
        ("what", "owner", "due"),
        ((each.what, each.owner or "who?", each.due or "when?")
         for each in review.incident.actions),
    )  # fmt: skip


def _evidence(review: Review) -> str:
    if not review.incident.evidence:
        return ""
    return _table(
        ("name", "bytes", "sha256", "kept at"),
        ((each.name, str(each.bytes), each.sha256, each.kept)
         for each in review.incident.evidence),
    )  # fmt: skip


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    head = "".join(f"<th>{name}</th>" for name in columns)
    body = "".join(
        "<tr>"
        + "".join(
            f"<td data-name='{name}'>{_text(cell)}</td>"
            for name, cell in zip(columns, row, strict=True)
        )
        + "</tr>"
        for row in rows
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _when(at: float | None, how: str) -> str:
    return f"not known: {how}" if at is None else f"{format_moment(at)}, {how}"


def _text(text: str) -> str:
    """Return outside text as HTML; signs that nobody sees become a visible one."""
    return escape("".join(sign if sign.isprintable() else "�" for sign in text))
