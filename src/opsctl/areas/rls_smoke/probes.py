"""What each actor tries with each relation, and how a database is asked all of it at once.

Probes are plain data. They are carried out by one DO block: every one in a subtransaction of its
own, under the actor's role and claims as PostgREST sets them, undone always. Writes are blind, as
an attacker's are: no WHERE, so that every row that a policy lets through is touched.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from opsctl.adapters import postgres
from opsctl.adapters.sql import quote_identifier, quote_literal
from opsctl.areas.rls_smoke.facts import Column, Relation
from opsctl.areas.rls_smoke.policy_file import Actor, actor_claims
from opsctl.core.errors import Exit, OpsError

OWNER = "none"
"""The role of the oracle: the connection's own, which no policy binds."""

DENIED = "42501"
_CONSTRAINT_CLASS = "23"
"""Policies are applied before constraints: who meets a constraint was let through."""


@dataclass(frozen=True)
class Probe:
    """One attempt.

    `sql` of kind `rows` returns an array of row ids and changes nothing; of kind `write` it changes
    rows; of kind `call` it returns an array of texts and may change rows.
    """

    relation: str
    actor: str
    verb: str
    """select insert update delete; move, an update that gives a row away; or an oracle's name."""
    kind: str
    sql: str
    role: str = OWNER
    claims: str = ""
    target: str = ""
    """insert: the id of the row that was the pattern; move: the column."""
    after: str = ""
    """Asked as the owner when it is done. write: the ids of the rows that are still as they were;
    call: anything, as an array of texts."""
    id_: str = ""
    """write: the expression that tells a row from others, to try each alone where the whole was
    refused."""
    within: str = ""
    """update, move: the query for the ids of rows that it can be about; others need no try."""
    everything: frozenset[str] | None = None
    """update: all ids, where what it touches is what a move by the same actor can be about."""


@dataclass(frozen=True)
class Outcome:
    """What came of a probe."""

    state: str = ""
    """SQLSTATE; empty when it went through."""
    message: str = ""
    count: int = 0
    rows: frozenset[str] = field(default_factory=frozenset)
    """rows: those seen. write: those still as they were; meaningless where none was touched."""
    passed: frozenset[str] = field(default_factory=frozenset)
    """write, refused as a whole: the rows whose own statement went through; call: what `after`
    returned."""

    @property
    def admitted(self) -> bool:
        """Whether policies and privileges let it through, whatever a constraint said then."""
        return not self.state or self.state.startswith(_CONSTRAINT_CLASS)

    @property
    def denied(self) -> bool:
        """Whether it was refused for want of a right, or by a trigger that raised."""
        return self.state in (DENIED, "P0001")

    @property
    def broken(self) -> bool:
        """Whether it failed of something that no caller should meet, such as recursion."""
        return bool(self.state) and not self.admitted and not self.denied

    def touched(self, everything: frozenset[str]) -> frozenset[str]:
        """Return the rows that a write changed or, refused as a whole, would change singly."""
        if self.state:
            return self.passed
        return everything - self.rows if self.count else frozenset()


def row_id(relation: Relation) -> str:
    """Return the expression that tells a row from others: its place, or a hash of it."""
    if relation.has_ctid:
        return "t.ctid::text"
    if relation.grouped_by:
        return _hash(relation.grouped_by)
    return "md5(t::text)"


def visible_id(relation: Relation, role: str) -> str:
    """Return the expression by which a role knows a row, of the columns that it may read."""
    if "SELECT" in relation.grants.get(role, frozenset()):
        return row_id(relation)
    columns = relation.readable(role)
    if not columns:
        return row_id(relation)  # it will be refused, which is the answer
    return _hash(columns)


def _hash(columns: Iterable[str]) -> str:
    return f"md5(ROW({', '.join('t.' + quote_identifier(name) for name in columns)})::text)"


def ids_sql(relation: Relation, *, where: str = "true", id_: str | None = None) -> str:
    """Return the query for the ids of rows that fulfil a condition."""
    return (
        f"SELECT array_agg(i) FROM (SELECT {id_ or row_id(relation)} AS i "
        f"FROM {relation.sql} t WHERE {where}) x"
    )


def reading(relation: Relation, name: str, actor: Actor) -> Probe:
    """Return the probe that reads every row that an actor sees."""
    sql = ids_sql(relation, id_=visible_id(relation, actor.role))
    return _probe(relation, (name, actor), "select", "rows", sql)


def changing(
    relation: Relation,
    name: str,
    actor: Actor,
    *,
    kept: frozenset[str],
    everything: frozenset[str],
) -> Probe:
    """Return the blind update; `kept` are columns that policies or keys depend on."""
    column = harmless_column(relation, actor.role, kept)
    if column is None:
        fallback = _some_column(relation, actor.role)
        assignment = f"{quote_identifier(fallback)} = {quote_identifier(fallback)}"
    else:
        assignment = f"{quote_identifier(column.name)} = {harmless_value(column)}"
    sql = f"UPDATE {relation.sql} t SET {assignment}"
    probe = _write(relation, (name, actor), "update", sql)
    # One that reads its column is kept to the rows that the actor sees, as a move is not.
    return probe if column is None else replace(probe, everything=everything)


def removing(relation: Relation, name: str, actor: Actor) -> Probe:
    """Return the blind delete."""
    return _write(relation, (name, actor), "delete", f"DELETE FROM {relation.sql} t")


def giving_away(relation: Relation, name: str, actor: Actor, *, column: str, value: str) -> Probe:
    """Return the blind update that makes rows somebody else's."""
    assignment = f"{quote_identifier(column)} = {value}"
    sql = f"UPDATE {relation.sql} t SET {assignment}"
    return _write(relation, (name, actor), "move", sql, target=column)


def adding(
    relation: Relation,
    name: str,
    actor: Actor,
    *,
    row: Mapping[str, str],
    pattern: str,
    verb: str = "insert",
) -> Probe:
    """Return the insert of a row like another's; `pattern` is that one's id."""
    from opsctl.areas.rls_smoke.rows import insert_sql

    allowed = relation.column_grants.get(actor.role, {}).get("INSERT", frozenset())
    values = {name: value for name, value in row.items() if not allowed or name in allowed}
    sql = insert_sql(relation, values)
    return _probe(relation, (name, actor), verb, "write", sql, target=pattern)


def calling(name: str, actor: Actor, *, relation: str, sql: str, after: str) -> Probe:
    """Return a probe that reads texts, may change rows, and looks afterwards."""
    claims = json.dumps(actor_claims(name, actor))
    return Probe(relation, name, "call", "call", sql, actor.role, claims, after=after)


def harmless_column(relation: Relation, role: str, kept: frozenset[str]) -> Column | None:
    """Return a column that may be set to anything without meaning much."""
    allowed = relation.column_grants.get(role, {}).get("UPDATE", frozenset())
    keys = {name for each in relation.uniques for name in each} | set(relation.partition_key)
    keys |= {name for key in relation.foreign_keys for name in key.columns}
    checked = "\n".join(relation.checks)
    fitting = [
        each for each in relation.columns
        if (each.name in allowed or not allowed) and each.name not in keys | kept
        and not (each.generated or each.identity) and _mark_of(each) in _MARKS
        and each.name not in checked
    ]  # fmt: skip
    fitting.sort(key=lambda each: list(_MARKS).index(_mark_of(each)))
    return fitting[0] if fitting else None


def harmless_value(column: Column) -> str:
    """Return what a harmless column is set to, as SQL."""
    return _MARKS[_mark_of(column)]


def run_probes(
    connection: postgres.Connection,
    probes: Sequence[Probe],
    *,
    schemas: tuple[str, ...],
    limits_ms: Mapping[str, int] | None = None,
) -> tuple[Outcome, ...]:
    """Carry out probes in one round trip and undo them; the outcomes are in their order.

    `limits_ms` are PostgreSQL's time limits for the whole, such as statement_timeout. Must be
    called outside a transaction. Raises OpsError `probes-failed` (exit 3) where the whole failed,
    such as for want of the right to take on a role.
    """
    text = json.dumps([
        {"r": p.role, "c": p.claims, "k": p.kind, "q": p.sql, "a": p.after or None,
         "i": p.id_ or None, "w": p.within or None,
         "g": f"{p.relation} {p.actor}" if p.within else None,
         "u": None if p.everything is None else sorted(p.everything)}
        for p in probes
    ])  # fmt: skip
    answer = carry_out(
        connection,
        _BLOCK.replace("@probes@", quote_literal(text)),
        schemas=schemas,
        settings={name: str(ms) for name, ms in (limits_ms or {}).items()},
    )
    return tuple(
        Outcome(o[0] or "", o[1] or "", o[2] or 0, frozenset(o[3] or ()), frozenset(o[4] or ()))
        for o in json.loads(answer)
    )


def carry_out(
    connection: postgres.Connection,
    block: str,
    *,
    schemas: tuple[str, ...],
    settings: Mapping[str, str],
) -> str:
    """Run a block in a transaction that is rolled back; return what it left for us.

    That is the setting `opsctl.outcomes`. `settings` hold for the transaction. Raises OpsError
    `probes-failed` (exit 3).
    """
    import psycopg

    path = ", ".join(quote_identifier(name) for name in (*schemas, "extensions"))
    limits = "".join(f" SET LOCAL {name} = {value};" for name, value in settings.items())
    script = (
        "BEGIN; SET LOCAL client_min_messages = error; "
        f"SET LOCAL search_path = {path};{limits}\n"
        f"DO {dollar(block)};\n"
        "SELECT current_setting('opsctl.outcomes'); ROLLBACK"
    )
    try:
        cursor = connection.execute(script.encode())
        answer = None
        while True:
            if cursor.description is not None:
                answer = cursor.fetchone()
            if not cursor.nextset():
                break
    except psycopg.Error as error:
        connection.execute("ROLLBACK")
        raise OpsError(
            "The probes could not be carried out",
            why=f"{error.diag.message_primary or type(error).__name__} "
            f"({error.sqlstate or 'no code'})",
            hint="may this role take on anon, authenticated and service_role?",
            code="probes-failed",
            exit=Exit.UNKNOWN,
        ) from None
    return str(answer[0]) if answer else "[]"


def dollar(text: str) -> str:
    """Return a text in dollar quotes that do not occur in it."""
    tag = "opsctl"
    while f"${tag}$" in text:
        tag += "_"
    return f"${tag}${text}${tag}$"


def _write(
    relation: Relation,
    who: tuple[str, Actor],
    verb: str,
    sql: str,
    *,
    target: str = "",
) -> Probe:
    # An update of one row meets the same policies as locking it; a delete meets others.
    within = "" if verb == "delete" else ids_sql(relation, where="true FOR UPDATE")
    return replace(
        _probe(relation, who, verb, "write", sql, target=target),
        after=ids_sql(relation),
        id_=row_id(relation),
        within=within,
    )


def _probe(
    relation: Relation, who: tuple[str, Actor], verb: str, kind: str, sql: str, *, target: str = ""
) -> Probe:
    name, actor = who
    claims = json.dumps(actor_claims(name, actor))
    return Probe(relation.key, name, verb, kind, sql, actor.role, claims, target)


def _some_column(relation: Relation, role: str) -> str:
    allowed = relation.column_grants.get(role, {}).get("UPDATE", frozenset())
    plain = [each.name for each in relation.columns if not each.generated]
    return next((name for name in plain if name in allowed), plain[0] if plain else "ctid")


def _mark_of(column: Column) -> str:
    return column.base if column.base in _MARKS else column.category


# Blind updates set these, the likeliest to be harmless first.
_MARKS = {
    "text": "'opsctl'",
    "S": "'x'",
    "jsonb": "'{\"opsctl\": 1}'",
    "timestamptz": "'2001-01-01'",
    "D": "'2001-01-01'",
    "N": "7",
    "bool": "true",
    "uuid": "'00000000-0000-4000-8000-0000000000ff'",
}

_BLOCK = """
DECLARE
  p record; row_id text; ids text[]; n bigint; seen text[]; passed text[]; state text;
  message text; touched text[]; touched_by text; as_role text; as_claims text;
  outcomes text[] := '{}';
BEGIN
  FOR p IN SELECT * FROM pg_catalog.jsonb_to_recordset(@probes@::jsonb)
    AS x(r text, c text, k text, q text, a text, i text, w text, g text, u text[])
  LOOP
    state := NULL; message := NULL; n := 0; seen := NULL; passed := NULL;
    IF as_role IS DISTINCT FROM p.r OR as_claims IS DISTINCT FROM p.c THEN
      -- Outside the subtransactions: the end of each brings this back.
      PERFORM pg_catalog.set_config('request.jwt.claims', p.c, true),
              pg_catalog.set_config('role', p.r, true);
      as_role := p.r; as_claims := p.c;
    END IF;
    BEGIN
      IF p.k = 'rows' THEN
        EXECUTE p.q INTO seen;
      ELSIF p.k = 'call' THEN
        EXECUTE p.q INTO seen;
        PERFORM pg_catalog.set_config('role', 'none', true);
        IF p.a IS NOT NULL THEN EXECUTE p.a INTO passed; END IF;
      ELSE
        EXECUTE p.q;
        GET DIAGNOSTICS n = ROW_COUNT;
        IF n > 0 AND p.a IS NOT NULL THEN
          PERFORM pg_catalog.set_config('role', 'none', true);
          EXECUTE p.a INTO seen;
        END IF;
      END IF;
      RAISE EXCEPTION USING ERRCODE = 'OC002';
    EXCEPTION
      WHEN SQLSTATE 'OC002' THEN NULL;
      WHEN OTHERS THEN GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, message = MESSAGE_TEXT;
    END;
    IF p.u IS NOT NULL AND state IS NULL THEN
      touched_by := p.g;
      touched := ARRAY(SELECT u FROM pg_catalog.unnest(p.u) u
        WHERE n > 0 AND u <> ALL (coalesce(seen, '{}')));
    END IF;
    IF state IS NOT NULL AND p.i IS NOT NULL AND message !~ '^permission denied' THEN
      ids := NULL;
      IF p.g = touched_by THEN
        ids := touched;
        -- Refused of one row alone, it was refused of that row.
        IF state = '42501' AND pg_catalog.cardinality(ids) < 2 THEN ids := '{}'; END IF;
      ELSIF p.w IS NOT NULL THEN
        BEGIN
          EXECUTE p.w INTO ids;
          ids := coalesce(ids, '{}');
          RAISE EXCEPTION USING ERRCODE = 'OC002';
        EXCEPTION
          WHEN SQLSTATE 'OC002' THEN NULL;
          WHEN OTHERS THEN ids := NULL;
        END;
      END IF;
      IF ids IS NULL THEN
        PERFORM pg_catalog.set_config('role', 'none', true);
        EXECUTE p.a INTO ids;
        PERFORM pg_catalog.set_config('role', p.r, true);
      END IF;
      FOREACH row_id IN ARRAY coalesce(ids, '{}') LOOP
        BEGIN
          EXECUTE p.q || ' WHERE ' || p.i || ' = ' || pg_catalog.quote_literal(row_id);
          GET DIAGNOSTICS n = ROW_COUNT;
          IF n > 0 THEN passed := passed || row_id; END IF;
          RAISE EXCEPTION USING ERRCODE = 'OC002';
        EXCEPTION
          WHEN SQLSTATE 'OC002' THEN NULL;
          WHEN integrity_constraint_violation THEN passed := passed || row_id;
          WHEN OTHERS THEN NULL;
        END;
      END LOOP;
      n := 0;
    END IF;
    outcomes := outcomes
      || pg_catalog.json_build_array(state, left(message, 300), n, seen, passed)::text;
  END LOOP;
  PERFORM pg_catalog.set_config('role', 'none', true);
  PERFORM pg_catalog.set_config('opsctl.outcomes',
    '[' || pg_catalog.array_to_string(outcomes, ',') || ']', true);
END
"""
