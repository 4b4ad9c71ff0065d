"""What a server says of itself: many questions in one round trip, none able to spoil another.

The questions stand in `vitals.sql`. They run in one read-only transaction, each in a
subtransaction of a `DO` block, and their answers come back together. One message is one
transaction, so a transaction pooler is asked in the same way.
"""

from __future__ import annotations

import importlib.resources
import json
import re
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from opsctl.adapters.pg_wire import Closed, Stranger, Wire, read_refusal
from opsctl.core.errors import Exit, OpsError

_HEADER = re.compile(r"^-- (\w+)(?: from (\d+))?(?: until (\d+))?$", re.MULTILINE)
_STATEMENT_TIMEOUT_S = 10.0
_LOCK_TIMEOUT_MS = 200
_PATIENCE_S = 12.0
"""Longer than the server's own time-out, for what the way takes."""
_MOST_BYTES = 8 << 20
_ANSWERED = "OPSOK"
"""Raised once a question is answered: what its subtransaction has locked is free at once."""
_NOT_BEGUN = "57014"
"""query_canceled, also of a question for which no time was left."""


@dataclass(frozen=True)
class Answer:
    """The answer to one question: rows, or the SQLSTATE of its refusal."""

    rows: tuple[Mapping[str, Any], ...] = ()
    sqlstate: str = ""
    said: str = ""
    """The server's message, for a person alone."""

    @property
    def why(self) -> str:
        """Why there are no rows, in words; empty where there are."""
        if not self.sqlstate:
            return ""
        words = {
            "42501": "the role may not see it",
            "57014": f"it took longer than {_STATEMENT_TIMEOUT_S:g} s",
            "55P03": "a lock is held by somebody else",
        }
        return words.get(self.sqlstate, f"{self.said} [{self.sqlstate}]")


@dataclass(frozen=True)
class Vitals:
    """Everything that was answered."""

    answers: Mapping[str, Answer] = field(default_factory=dict)
    major: int = 0
    took_ms: float = 0.0

    def rows(self, question: str) -> tuple[Mapping[str, Any], ...]:
        """Return the rows of one answer; none where it was refused."""
        return self.answers.get(question, Answer()).rows

    def one(self, question: str) -> Mapping[str, Any]:
        """Return the first row of one answer; an empty one where there is none."""
        rows = self.rows(question)
        return rows[0] if rows else {}

    def why(self, question: str) -> str:
        """Return why a question has no answer; empty where it has one."""
        return self.answers[question].why if question in self.answers else "it was not asked"


def read_vitals(wire: Wire, *, major: int) -> Vitals:
    """Ask a server everything over a connection that is signed in; see `ask_questions`."""
    return ask_questions(wire, questions(major), major=major)


def ask_questions(wire: Wire, asked: Mapping[str, str], *, major: int) -> Vitals:
    """Ask a server some SELECTs by name, in one round trip.

    It only reads, and waits at most 200 ms for a lock and 10 s in all. Raises OpsError
    `database-lost` (exit 3) where the connection fails or the answer is none.
    """
    began = time.monotonic()
    wire.allow(timeout_s=_PATIENCE_S, most_bytes=_MOST_BYTES)
    try:
        text = _ask(wire, _message(asked))
    except TimeoutError:
        raise _lost(f"no whole answer within {_PATIENCE_S:g} s") from None
    except (OSError, Closed):
        raise _lost("the server hung up") from None
    except Stranger:
        raise _lost("what came is not PostgreSQL's protocol, or has no end") from None
    try:
        answers = {
            str(name): Answer(
                tuple(each.get("rows") or ()), each.get("sqlstate", ""), each.get("said", "")
            )
            for name, each in json.loads(text).items()
        }
    except (ValueError, AttributeError, TypeError, RecursionError):
        raise _lost("the answer is not what was asked for") from None
    return Vitals(answers, major, (time.monotonic() - began) * 1000)


def _ask(wire: Wire, question: str) -> str:
    """Send one simple query and return the first column of its last row."""
    wire.say(b"Q", question.encode() + b"\0")
    text = ""
    while True:
        kind, body = wire.message()
        if kind == b"D" and len(body) >= 6:
            text = body[6:].decode("utf-8", "replace")
        elif kind == b"E":
            refusal = read_refusal(body)
            raise _lost(f"{refusal.said} [{refusal.sqlstate}]")
        elif kind == b"Z":
            return text


def _lost(why: str) -> OpsError:
    return OpsError(
        "The server was reached and then not asked",
        why=why,
        hint="run it again: was the server restarted just now?",
        code="database-lost",
        exit=Exit.UNKNOWN,
    )


def questions(major: int) -> dict[str, str]:
    """Return the questions for a major version: name -> SELECT, in the order they are asked."""
    text = (importlib.resources.files("opsctl.adapters") / "vitals.sql").read_text("utf-8")
    headers = list(_HEADER.finditer(text))
    found = {}
    for header, following in zip(headers, [*headers[1:], None], strict=True):
        name, first, last = header.groups()
        if (first is None or int(first) <= major) and (last is None or major <= int(last)):
            end = following.start() if following is not None else len(text)
            found[name] = text[header.end() : end].strip()
    return found


def _message(asked: Mapping[str, str]) -> str:
    """Return one simple-query message that asks everything and answers one JSON text.

    A variable keeps its value when its block is undone, so each question's locks end with it:
    to read a sequence takes a ROW EXCLUSIVE lock on it.
    """
    # A tag nobody can have put into a question.
    tag = f"$q{secrets.token_hex(8)}$"
    body = f"""
DECLARE
  asked CONSTANT json := {_QUOTE}{json.dumps(dict(asked))}{_QUOTE};
  answers jsonb := '{{}}';
  answer jsonb;
  name text;
  question text;
BEGIN
  FOR name, question IN SELECT * FROM json_each_text(asked) LOOP
    IF clock_timestamp() > transaction_timestamp() + interval '{_STATEMENT_TIMEOUT_S} s' THEN
      answers := answers || jsonb_build_object(name,
        jsonb_build_object('sqlstate', '{_NOT_BEGUN}', 'said', 'no time was left'));
      CONTINUE;
    END IF;
    BEGIN
      EXECUTE format('SELECT jsonb_agg(to_jsonb(answer)) FROM (%s) AS answer', question || chr(10))
        INTO answer;
      RAISE SQLSTATE '{_ANSWERED}';
    EXCEPTION WHEN SQLSTATE '{_ANSWERED}' THEN
      answers := answers || jsonb_build_object(name, jsonb_build_object('rows', answer));
    WHEN query_canceled OR OTHERS THEN
      answers := answers || jsonb_build_object(name,
        jsonb_build_object('sqlstate', SQLSTATE, 'said', SQLERRM));
    END;
  END LOOP;
  PERFORM set_config('opsctl.answers', answers::text, true);
END
""".replace(_QUOTE, f"$j{secrets.token_hex(8)}$")
    return (
        "BEGIN READ ONLY;"
        f"SET LOCAL statement_timeout = {_STATEMENT_TIMEOUT_S * 1000:.0f};"
        f"SET LOCAL lock_timeout = {_LOCK_TIMEOUT_MS};"
        "SET LOCAL search_path = pg_catalog;"
        "SET LOCAL datestyle = 'ISO';"
        "SET LOCAL timezone = 'UTC';"
        "SET LOCAL jit = off;"
        f"DO {tag}{body}{tag};"
        "SELECT current_setting('opsctl.answers');"
        "COMMIT"
    )


_QUOTE = "\0quote\0"
