"""Scripts are cut where PostgreSQL would cut them."""

import pytest

from opsctl.adapters.sql import (
    in_one_transaction,
    needs_no_transaction,
    plainly_dropped_tables,
    quote_identifier,
    quote_literal,
    split_statements,
    without_comments,
)


@pytest.mark.parametrize(
    ("script", "statements"),
    [
        ("", ()),
        ("-- only a comment;\n/* and ; another */ ;;", ()),
        ("select 1; select 2", ("select 1", "select 2")),
        ("select ';'; select 2;", ("select ';'", "select 2")),
        ("select 'it''s; so'; select 2", ("select 'it''s; so'", "select 2")),
        (r"select E'a\';b'; select 2", (r"select E'a\';b'", "select 2")),
        ('select ";""x;" from t; select 2', ('select ";""x;" from t', "select 2")),
        ("do $$ begin x; end $$; select 2", ("do $$ begin x; end $$", "select 2")),
        ("do $a$ $$;$$ ; $a$; select 2", ("do $a$ $$;$$ ; $a$", "select 2")),
        ("select a$1; select 2", ("select a$1", "select 2")),
        ("select 1 /* a /* b; */ c; */; select 2", ("select 1 /* a /* b; */ c; */", "select 2")),
        (
            "create function f() returns int begin atomic select case when true then 1 end; "
            "select 2; end; select 3",
            (
                "create function f() returns int begin atomic select case when true then 1 end; "
                "select 2; end",
                "select 3",
            ),
        ),
        ("begin; select 1; end; select 2", ("begin", "select 1", "end", "select 2")),
        ("select 'open; select 2", ("select 'open; select 2",)),
        ("do $$ open; select 2", ("do $$ open; select 2",)),
    ],
)
def test_a_script_is_cut_where_postgresql_cuts_it(script: str, statements: tuple[str, ...]) -> None:
    assert statements == split_statements(script)


def test_comments_are_taken_out_and_quotes_left() -> None:
    assert "select '--x'  , 2" == without_comments("select '--x' /* y */, 2 -- z")


def test_concurrently_is_taken_out_and_said() -> None:
    script = (
        "-- why\ncreate unique index concurrently i on t (a);\n"
        "drop index CONCURRENTLY if exists j; begin; select 1; commit; vacuum t"
    )

    statements, changed, impossible = in_one_transaction(script)

    assert (
        "create unique index i on t (a)",
        "drop index if exists j",
        "select 1",
        "vacuum t",
    ) == statements
    assert (
        "create unique index concurrently i on t (a)",
        "drop index CONCURRENTLY if exists j",
        "begin",
        "commit",
    ) == changed
    assert ("vacuum t",) == impossible
    assert needs_no_transaction(script)
    assert not needs_no_transaction("begin; select 'concurrently'; commit")


@pytest.mark.parametrize(
    ("statement", "tables"),
    [
        ("drop table a", ("a",)),
        ("DROP TABLE IF EXISTS public.a, b RESTRICT", ("public.a", "b")),
        ("drop table a cascade", ()),
        ("drop table a, b /* x */ CASCADE", ()),
        ('drop table "a,b", c', ()),
        ('drop table "A"."b"', ('"A"."b"',)),
        ("drop view a", ()),
        ("drop table -- why\n a", ("a",)),
    ],
)
def test_only_a_plain_drop_table_is_known(statement: str, tables: tuple[str, ...]) -> None:
    assert tables == plainly_dropped_tables(statement)


def test_names_and_literals_are_quoted() -> None:
    assert '"a""b"' == quote_identifier('a"b')
    assert "'it''s'" == quote_literal("it's")
    assert r" E'a\\b'" == quote_literal(r"a\b")
