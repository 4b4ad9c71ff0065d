"""Derive down SQL from two catalogs: what is there now, and what should be there.

A kept library was looked for first. npm's @pgkit/migra needs Node, which a rollback must work
without; PyPI's migra is no longer maintained. What is derived here is tried in a scratch
database before it is used, so it may be imperfect but never unproven.

Nothing is dropped with CASCADE or IF EXISTS: a hidden dependant must make it fail. A table or a
column that the migration dropped is never made again: its data could not come back.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from opsctl.adapters.catalog import Catalog, CatalogObject
from opsctl.adapters.sql import quote_literal


@dataclass(frozen=True)
class Derived:
    """Down SQL, and what of it cannot be derived safely, a sentence each."""

    statements: tuple[str, ...]
    cannot: tuple[str, ...]


_Key = tuple[str, str]

# Dropped in this order, made in the reverse: what stands on something before what it stands on.
_DROP_ORDER = (
    ("event trigger",),
    ("publication table",),
    ("publication",),
    ("policy",),
    ("trigger",),
    ("rule",),
    ("statistics",),
    ("materialized view", "view", "function", "procedure"),
    ("index",),
)

_NEVER_CHANGED = (
    "range",
    "aggregate",
    "event trigger",
    "extension",
    "composite type",
    "domain",
)

_REPLICA = {"d": "DEFAULT", "f": "FULL", "n": "NOTHING"}

_DROP_LAST = (
    ("aggregate",),
    ("function", "procedure"),
    ("sequence",),
    ("domain", "composite type", "enum", "range"),
    ("extension",),
    ("schema",),
)

_STOOD_ON = ("view", "materialized view", "function", "procedure")

_OWNED = {
    "composite type": "TYPE",
    "domain": "DOMAIN",
    "enum": "TYPE",
    "function": "FUNCTION",
    "materialized view": "MATERIALIZED VIEW",
    "procedure": "PROCEDURE",
    "schema": "SCHEMA",
    "sequence": "SEQUENCE",
    "table": "TABLE",
    "view": "VIEW",
}

_PLAIN_DROPS = {
    "aggregate": "AGGREGATE",
    "domain": "DOMAIN",
    "enum": "TYPE",
    "event trigger": "EVENT TRIGGER",
    "extension": "EXTENSION",
    "function": "FUNCTION",
    "index": "INDEX",
    "composite type": "TYPE",
    "materialized view": "MATERIALIZED VIEW",
    "procedure": "PROCEDURE",
    "publication": "PUBLICATION",
    "range": "TYPE",
    "schema": "SCHEMA",
    "sequence": "SEQUENCE",
    "statistics": "STATISTICS",
    "table": "TABLE",
    "view": "VIEW",
}


def derive_down(now: Catalog, target: Catalog) -> Derived:
    """Return SQL that leads from `now` to `target`, as far as it can be done safely."""
    return _Derivation(now, target).derive()


class _Derivation:
    """The two catalogs and what has been found out about them."""

    def __init__(self, now: Catalog, target: Catalog) -> None:
        self.now = now.objects
        self.target = target.objects
        self.gone = [self.now[key] for key in self.now.keys() - self.target.keys()]
        self.missing = [self.target[key] for key in self.target.keys() - self.now.keys()]
        self.changed = [
            (self.now[key], self.target[key])
            for key in self.now.keys() & self.target.keys()
            if self.now[key] != self.target[key]
        ]
        self.statements: list[str] = []
        self.cannot: list[str] = []
        self.dropped_tables = {each.name for each in self.gone if each.kind == "table"}
        self.dropped_relations: set[str] = set()
        self.early: set[_Key] = set()
        """Functions that stand on tables or views and are dropped before them."""
        self.remade: set[_Key] = set()

    def derive(self) -> Derived:
        self._refuse()
        again = self._to_remake()
        self._drop_standing_on([*self.gone, *again])
        self._constraints(drop=True)
        self._drop_tables_and_columns()
        self._make_schemas_and_types()
        self._change_columns()
        self._change_enums()
        self._drop_the_rest()
        self._change_tables()
        self._make_sequences()
        self._constraints(drop=False)
        self._make_standing_on([*self.missing, *again])
        self._change_functions()
        self._owners()
        self._default_privileges()
        self._grants()
        self._comments()
        return Derived(tuple(self.statements), tuple(dict.fromkeys(self.cannot)))

    def _refuse(self) -> None:
        for each in _sorted(self.missing):
            if each.kind == "table":
                self.cannot.append(
                    f"the table {each.name} is not there any more: it was dropped or renamed, "
                    "and its rows cannot be derived"
                )
            elif each.kind == "column" and _table(each) not in self._missing_tables():
                self.cannot.append(
                    f"the column {each.name} is not there any more: it was dropped or renamed, "
                    "and its values cannot be derived"
                )
            elif each.kind in ("range", "aggregate", "event trigger") or _is_global(each):
                self.cannot.append(f"the {each.kind} {each.name} cannot be made again")
        for before, after in self.changed:
            stuck = before.kind in _NEVER_CHANGED and not self._owner_alone(before, after)
            if stuck or _is_global(before):
                self.cannot.append(
                    f"the {before.kind} {before.name} was changed to {before.definition} "
                    f"and cannot be changed back to {after.definition}"
                )
        for each in self.gone:
            if _is_global(each):
                self.cannot.append(f"the default privileges {each.name} cannot be taken back")

    def _owner_alone(self, before: CatalogObject, after: CatalogObject) -> bool:
        """Whether a type differs by its owner and nothing else."""
        return "body" in before.details and before.details["body"] == after.details["body"]

    def _missing_tables(self) -> set[str]:
        return {each.name for each in self.missing if each.kind == "table"}

    def _to_remake(self) -> list[CatalogObject]:
        """Return objects of the target that are dropped and made again, as they are there."""
        again: dict[_Key, CatalogObject] = {}
        for _, after in self.changed:
            if after.kind in ("view", "materialized view", "policy", "trigger", "rule",
                              "statistics", "index"):  # fmt: skip
                again[(after.kind, after.name)] = after
        for before, after in self.changed:
            if before.kind in ("function", "procedure") and (
                before.details.get("returns") != after.details.get("returns")
            ):
                again[(after.kind, after.name)] = after
        # Columns that get another type, and types that are made anew.
        standing = {
            before.details["oid"]
            for before, after in self.changed
            if (before.kind == "enum" and not self._owner_alone(before, after))
            or (before.kind == "column" and before.details["type"] != after.details["type"])
        }
        standing |= self._tables_of_changed_enums()
        standing |= {
            self.now[key].details["oid"] for key in again
            if key in self.now and key[0] in _STOOD_ON
        }  # fmt: skip
        standing |= {
            each.details["oid"] for each in self.gone if each.kind in ("view", "materialized view")
        }
        while True:
            more = [
                key
                for key, each in self.now.items()
                if key in self.target and key not in again
                and standing.intersection(each.details.get("uses", ()))
            ]  # fmt: skip
            if not more:
                break
            for key in more:
                again[key] = self.target[key]
                if key[0] in _STOOD_ON:
                    standing.add(self.now[key].details["oid"])
        self.dropped_relations = self.dropped_tables | {
            name for kind, name in [*again, *map(_key, self.gone)]
            if kind in ("view", "materialized view")
        }  # fmt: skip
        for key, each in self.target.items():
            # What hangs on a view goes with it.
            if (
                key in self.now
                and key[0] in ("index", "trigger", "rule")
                and (_table(each) in self.dropped_relations)
            ):
                again[key] = each
        gone_oids = standing | {each.details["oid"] for each in self.gone if each.kind == "table"}
        self.early = {
            key for key in [*again, *map(_key, self.gone)]
            if key[0] in ("function", "procedure") and key in self.now
            and gone_oids.intersection(self.now[key].details["uses"])
        }  # fmt: skip
        self.remade = set(again)
        return list(again.values())

    def _drop_standing_on(self, objects: Iterable[CatalogObject]) -> None:
        """Drop what stands on tables; of remade objects, what stands there now."""
        present = [self.now[(each.kind, each.name)] for each in objects if _key(each) in self.now]
        for kinds in _DROP_ORDER:
            for each in _newest_first(each for each in present if each.kind in kinds):
                if _table(each) in self.dropped_relations and each.kind != "policy":
                    continue  # goes with its table
                if _table(each) in self.dropped_tables and not self._hinders(each):
                    continue
                # Defaults and generated columns may call the other functions: those go later.
                if each.kind not in ("function", "procedure") or _key(each) in self.early:
                    self.statements.append(_drop(each))

    def _hinders(self, policy: CatalogObject) -> bool:
        """Whether a policy stands on something else that is dropped before its table."""
        gone = {each.details["oid"] for each in self.gone if each.kind in ("table", "view")}
        gone.discard(self.now[("table", _table(policy))].details["oid"])
        early = {self.now[key].details["oid"] for key in self.early}
        return bool((gone | early).intersection(policy.details["uses"]))

    def _constraints(self, *, drop: bool) -> None:
        changed = [pair for pair in self.changed if pair[0].kind == "constraint"]
        if drop:
            old = [each for each in self.gone if each.kind == "constraint"]
            old += [before for before, _ in changed]
            # Foreign keys first: what they point at is another constraint.
            for each in sorted(old, key=lambda each: (each.details["type"] != "f", each.name)):
                alone = each.details["type"] != "f"
                if _table(each) in self.dropped_tables and alone:
                    continue
                if self._goes_with_column(each):
                    continue
                self.statements.append(
                    f"ALTER TABLE {_table(each)} DROP CONSTRAINT {each.details['name']}"
                )
            return
        new = [each for each in self.missing if each.kind == "constraint"]
        new += [after for _, after in changed]
        for each in sorted(new, key=lambda each: (each.details["type"] == "f", each.name)):
            self.statements.append(
                f"ALTER TABLE {_table(each)} ADD CONSTRAINT {each.details['name']} "
                f"{each.definition}"
            )

    def _goes_with_column(self, constraint: CatalogObject) -> bool:
        # An explicit drop is never wrong for a table that stays.
        return False

    def _drop_tables_and_columns(self) -> None:
        for each in _newest_first(each for each in self.gone if each.kind == "table"):
            self.statements.append(_drop(each))
        for each in _newest_first(each for each in self.gone if each.kind == "column"):
            if _table(each) in self.dropped_tables or each.details["inherited"]:
                continue
            if ("table", _table(each)) in self.now:
                self.statements.append(
                    f"ALTER TABLE {_table(each)} DROP COLUMN {each.details['column']}"
                )

    def _make_schemas_and_types(self) -> None:
        for each in _sorted(self.missing):
            if each.kind == "schema":
                self.statements.append(f"CREATE SCHEMA {each.name}")
            elif each.kind == "extension":
                schema = each.definition.removeprefix("in schema ")
                self.statements.append(f"CREATE EXTENSION {each.name} SCHEMA {schema}")
            elif each.kind in ("enum", "domain", "composite type"):
                self.statements.append(each.details["create"])

    def _change_columns(self) -> None:
        for before, after in sorted(self.changed, key=lambda pair: pair[0].name):
            if before.kind != "column" or after.details["inherited"]:
                continue
            alter = f"ALTER TABLE {_table(after)} ALTER COLUMN {after.details['column']}"
            old, new = before.details, after.details
            if old["generated"] or new["generated"]:
                if old["generated"] and not new["generated"] and old["type"] == new["type"]:
                    self.statements.append(f"{alter} DROP EXPRESSION")
                else:
                    self.cannot.append(
                        f"the generated column {after.name} cannot be changed back to "
                        f"{after.definition}"
                    )
                continue
            if old["identity"] and not new["identity"]:
                self.statements.append(f"{alter} DROP IDENTITY")
            if old["default"] is not None and old["default"] != new["default"]:
                self.statements.append(f"{alter} DROP DEFAULT")
            if old["type"] != new["type"]:
                self.statements.append(f"{alter} TYPE {new['type']}")
            if new["default"] is not None and old["default"] != new["default"]:
                self.statements.append(f"{alter} SET DEFAULT {new['default']}")
            if old["notnull"] and not new["notnull"]:
                self.statements.append(f"{alter} DROP NOT NULL")
            if new["notnull"] and not old["notnull"]:
                self.statements.append(f"{alter} SET NOT NULL")
            if new["identity"] and new["identity"] != old["identity"]:
                how = "ALWAYS" if new["identity"] == "a" else "BY DEFAULT"
                verb = "SET GENERATED" if old["identity"] else "ADD GENERATED"
                tail = "" if old["identity"] else " AS IDENTITY"
                self.statements.append(f"{alter} {verb} {how}{tail}")

    def _columns_of_enum(self, name: str) -> list[CatalogObject]:
        return [
            each
            for each in self.now.values()
            if each.kind == "column"
            and each.details["type_name"] == name
            and _key(each) in self.target
        ]

    def _tables_of_changed_enums(self) -> set[int]:
        return {
            column.details["oid"]
            for before, after in self.changed
            if before.kind == "enum" and not self._owner_alone(before, after)
            for column in self._columns_of_enum(before.name)
        }

    def _change_enums(self) -> None:
        """Make a changed enum anew and cast its columns by their labels; a label in use fails."""
        for before, after in self.changed:
            if before.kind != "enum" or self._owner_alone(before, after):
                continue
            schema, _, bare = after.name.rpartition(".")
            old = '"opsctl_old_' + bare.strip('"').replace('"', '""') + '"'
            self.statements.append(f"ALTER TYPE {before.name} RENAME TO {old}")
            self.statements.append(after.details["create"])
            for column in self._columns_of_enum(before.name):
                alter = f"ALTER TABLE {_table(column)} ALTER COLUMN {column.details['column']}"
                default = self.target[_key(column)].details["default"]
                array = "[]" if column.details["array"] else ""
                if column.details["default"] is not None:
                    self.statements.append(f"{alter} DROP DEFAULT")
                self.statements.append(
                    f"{alter} TYPE {after.name}{array} "
                    f"USING {column.details['column']}::pg_catalog.text{array}::{after.name}{array}"
                )
                if default is not None:
                    self.statements.append(f"{alter} SET DEFAULT {default}")
            self.statements.append(f"DROP TYPE {schema}.{old}")

    def _drop_the_rest(self) -> None:
        """Drop functions, sequences, types, extensions and schemas that nothing uses any more."""
        remade = [self.now[key] for key in self.remade if key in self.now]
        for kinds in _DROP_LAST:
            for each in _newest_first(
                e for e in [*self.gone, *remade] if e.kind in kinds and _key(e) not in self.early
            ):
                owner = each.details.get("owned")
                if kinds == ("sequence",) and owner and self._owner_goes(each, owner):
                    continue
                self.statements.append(_drop(each))

    def _owner_goes(self, sequence: CatalogObject, owner: str) -> bool:
        """Whether a sequence goes with the table or the column that owns it."""
        column = sequence.definition.partition("OWNED BY ")[2].partition(" owner ")[0]
        names = {each.name for each in self.gone if each.kind in ("table", "column")}
        short = {name.removeprefix("public.") for name in names}
        return bool({owner, column} & (names | short))

    def _change_tables(self) -> None:
        for before, after in sorted(self.changed, key=lambda pair: pair[0].name):
            if before.kind != "table":
                continue
            old, new = before.details, after.details
            if old["rls"] != new["rls"]:
                word = "ENABLE" if new["rls"] else "DISABLE"
                self.statements.append(f"ALTER TABLE {after.name} {word} ROW LEVEL SECURITY")
            if old["forced"] != new["forced"]:
                word = "" if new["forced"] else "NO "
                self.statements.append(f"ALTER TABLE {after.name} {word}FORCE ROW LEVEL SECURITY")
            if old["persistence"] != new["persistence"]:
                word = "UNLOGGED" if new["persistence"] == "u" else "LOGGED"
                self.statements.append(f"ALTER TABLE {after.name} SET {word}")
            if old["replica"] != new["replica"] and new["replica"] in _REPLICA:
                self.statements.append(
                    f"ALTER TABLE {after.name} REPLICA IDENTITY {_REPLICA[new['replica']]}"
                )
            gone = [o.partition("=")[0] for o in old["options"] if o not in new["options"]]
            if gone:
                self.statements.append(f"ALTER TABLE {after.name} RESET ({', '.join(gone)})")
            back = [o for o in new["options"] if o not in old["options"]]
            if back:
                self.statements.append(f"ALTER TABLE {after.name} SET ({', '.join(back)})")

    def _make_sequences(self) -> None:
        for each in _sorted(self.missing):
            if each.kind == "sequence":
                words = each.definition.partition(" owner ")[0]
                self.statements.append(f"CREATE SEQUENCE {each.name} {words}")
        for before, after in self.changed:
            if before.kind == "sequence":
                words = after.definition.partition(" owner ")[0]
                words += "" if "OWNED BY" in words else " OWNED BY NONE"
                self.statements.append(f"ALTER SEQUENCE {after.name} {words}")

    def _make_standing_on(self, objects: Iterable[CatalogObject]) -> None:
        made = list(objects)
        for kind in ("publication", "publication table"):
            for each in _sorted(each for each in self.missing if each.kind == kind):
                if kind == "publication table":
                    text = (
                        f"ALTER PUBLICATION {each.details['publication']} ADD TABLE {_table(each)}"
                    )
                    self.statements.append(text)
                else:
                    text = f"CREATE PUBLICATION {each.name}"
                    text += " FOR ALL TABLES" if each.details["all"] else ""
                    self.statements.append(f"{text} WITH ({_publishing(each)})")
        for before, after in self.changed:
            if before.kind == "publication":
                self.statements.append(f"ALTER PUBLICATION {after.name} SET ({_publishing(after)})")
        for kinds in (("function", "procedure", "view", "materialized view"), ("index",),
                      ("statistics",), ("rule",), ("trigger",), ("policy",)):  # fmt: skip
            found = [each for each in made if each.kind in kinds]
            for each in sorted(found, key=lambda each: each.details["oid"]):
                self.statements.append(each.details["create"].rstrip("; \n"))
                if each.kind == "trigger" and each.details["enabled"] != "O":
                    word = {"D": "DISABLE", "R": "ENABLE REPLICA", "A": "ENABLE ALWAYS"}
                    self.statements.append(
                        f"ALTER TABLE {_table(each)} {word[each.details['enabled']]} TRIGGER "
                        f"{each.details['name']}"
                    )

    def _change_functions(self) -> None:
        for before, after in sorted(self.changed, key=lambda pair: pair[0].name):
            if before.kind in ("function", "procedure") and _key(after) not in self.remade:
                self.statements.append(after.details["create"].rstrip("; \n"))

    def _owners(self) -> None:
        """Give things back to their owners; what was made anew belongs to whoever ran this."""
        fresh = [self.target[key] for key in self.remade]
        fresh += [each for each in self.missing if each.kind != "table"]
        fresh += [
            after for before, after in self.changed
            if before.details.get("owner") != after.details.get("owner") or after.kind == "enum"
        ]  # fmt: skip
        for each in _sorted({_key(each): each for each in fresh}.values()):
            if each.kind in _OWNED and not (each.kind == "sequence" and each.details["owned"]):
                self.statements.append(
                    f"ALTER {_OWNED[each.kind]} {each.name} OWNER TO {each.details['owner']}"
                )

    def _default_privileges(self) -> None:
        old = {_key(e): e for e in self.gone if e.kind == "default privileges"}
        old |= {_key(e): e for e, _ in self.changed if e.kind == "default privileges"}
        new = {_key(e): e for e in self.missing if e.kind == "default privileges"}
        new |= {_key(e): e for _, e in self.changed if e.kind == "default privileges"}
        for key in sorted({*old, *new}):
            each = new.get(key) or old[key]
            if each.details["schema"] is None:
                continue  # refused: what is built in is part of these
            here = old[key].details["items"] if key in old else []
            there = new[key].details["items"] if key in new else []
            head = (
                f"ALTER DEFAULT PRIVILEGES FOR ROLE {each.details['for']} "
                f"IN SCHEMA {each.details['schema']}"
            )
            on = f"ON {each.details['what']}"
            for item in here:
                if item not in there:
                    self.statements.append(f"{head} REVOKE {item[0]} {on} FROM {item[2]}")
            for item in there:
                if item not in here:
                    tail = " WITH GRANT OPTION" if item[1] else ""
                    self.statements.append(f"{head} GRANT {item[0]} {on} TO {item[2]}{tail}")

    def _grants(self) -> None:
        """Bring privileges back; of what was made anew, from what CREATE gave by itself."""
        fresh = {name for _, name in self.remade}
        fresh |= {each.name for each in self.missing}
        here = {key: each for key, each in self.now.items() if each.kind == "grant"}
        there = {key: each for key, each in self.target.items() if each.kind == "grant"}
        revoked: set[tuple[str, str]] = set()
        for key, each in sorted(here.items()):
            label = each.details["label"]
            if each == there.get(key) or not self._stays(each):
                continue
            if label not in fresh:
                self.statements.append(_revoke(each))
                if not each.details["columns"]:
                    # Revoked from the table is revoked from each of its columns.
                    revoked.add((label, each.details["role"]))
        for key, each in sorted(there.items()):
            again = (each.details["label"], each.details["role"]) in revoked
            if each != here.get(key) or each.details["label"] in fresh or again:
                if each.details["label"] in fresh:
                    self.statements.append(_revoke(each))
                self.statements += _grant(each)
        self._revoke_defaults(fresh, there.values())

    def _revoke_defaults(self, fresh: set[str], there: Iterable[CatalogObject]) -> None:
        """Take from what was made anew the privileges that came with being made."""
        given = {(each.details["label"], each.details["role"]) for each in there}
        defaults = {
            (each.details["what"].removesuffix("S"), item[2])
            for each in self.target.values() if each.kind == "default privileges"
            for item in each.details["items"]
        }  # fmt: skip
        defaults.add(("FUNCTION", "PUBLIC"))
        made = {*self.remade, *map(_key, self.missing)}
        for kind, label in sorted(made):
            words = _OWNED.get(kind, "")
            what = {"VIEW": "TABLE", "MATERIALIZED VIEW": "TABLE", "PROCEDURE": "FUNCTION"}
            owner = self.target[(kind, label)].details.get("owner")
            for of, role in sorted(defaults):
                if what.get(words, words) == of and (label, role) not in given and role != owner:
                    on = words if words in ("FUNCTION", "PROCEDURE", "SEQUENCE") else of
                    self.statements.append(f"REVOKE ALL ON {on} {label} FROM {role}")

    def _stays(self, grant: CatalogObject) -> bool:
        label = grant.details["label"]
        gone = {each.name for each in self.gone if each.kind != "grant"}
        column = grant.details["columns"].strip("()")
        return label not in gone and f"{label}.{column}" not in gone

    def _comments(self) -> None:
        gone = {_identity(each) for each in self.gone}
        remade = [self.target[key] for key in self.remade]
        # A constraint that changed was dropped and added, an enum was made anew.
        remade += [after for _, after in self.changed if after.kind in ("constraint", "enum")]
        fresh = {_identity(each) for each in remade}
        views = {each.name for each in self.gone if each.kind in ("view", "materialized view")}
        for each in _sorted(each for each in self.gone if each.kind == "comment"):
            identity = each.details["identity"]
            went = identity in gone | fresh or identity.rpartition(".")[0] in views
            if not went and identity.rpartition(" on ")[2] not in self.dropped_relations:
                self.statements.append(_comment(each, None))
        back = [each for each in self.missing if each.kind == "comment"]
        back += [after for _, after in self.changed if after.kind == "comment"]
        back += [
            each for each in self.target.values()
            if each.kind == "comment" and each not in back
            and (each.details["identity"] in fresh
                 or each.details["identity"].rpartition(".")[0] in fresh)
        ]  # fmt: skip
        for each in _sorted(back):
            self.statements.append(_comment(each, each.details["text"]))


def _drop(each: CatalogObject) -> str:
    if each.kind in ("policy", "trigger", "rule"):
        return f"DROP {each.kind.upper()} {each.details['name']} ON {_table(each)}"
    if each.kind == "publication table":
        return f"ALTER PUBLICATION {each.details['publication']} DROP TABLE {_table(each)}"
    return f"DROP {_PLAIN_DROPS[each.kind]} {each.name}"


def _grant(each: CatalogObject) -> list[str]:
    details = each.details
    columns = details["columns"]
    plain = [p for p, g in zip(details["privileges"], details["grantable"], strict=True) if not g]
    grantable = [p for p, g in zip(details["privileges"], details["grantable"], strict=True) if g]
    on = f"ON {details['what']} {details['label']} TO {details['role']}"
    statements = []
    if plain:
        statements.append(f"GRANT {', '.join(p + columns for p in plain)} {on}")
    if grantable:
        statements.append(
            f"GRANT {', '.join(p + columns for p in grantable)} {on} WITH GRANT OPTION"
        )
    return statements


def _revoke(each: CatalogObject) -> str:
    details = each.details
    words = ", ".join(p + details["columns"] for p in details["privileges"])
    if not details["columns"]:
        words = "ALL"
    return f"REVOKE {words} ON {details['what']} {details['label']} FROM {details['role']}"


def _publishing(each: CatalogObject) -> str:
    root = "true" if each.details["root"] else "false"
    return f"publish = '{each.details['publish']}', publish_via_partition_root = {root}"


def _comment(each: CatalogObject, text: str | None) -> str:
    kind = each.details["type"].upper().removeprefix("TABLE ").replace("COMPOSITE TYPE", "TYPE")
    kind = "COLUMN" if kind.endswith(" COLUMN") else kind
    value = "NULL" if text is None else quote_literal(text)
    return f"COMMENT ON {kind} {each.details['identity']} IS {value}"


def _is_global(each: CatalogObject) -> bool:
    """Whether these are default privileges outside any schema, which hold the built-in ones."""
    return each.kind == "default privileges" and each.details["schema"] is None


def _identity(each: CatalogObject) -> str:
    """Return the name that a comment calls it by."""
    if each.kind in ("policy", "trigger", "rule", "constraint"):
        return f"{each.details['name']} on {_table(each)}"
    return str(each.details.get("signature", each.name))


def _key(each: CatalogObject) -> _Key:
    return (each.kind, each.name)


def _table(each: CatalogObject) -> str:
    return str(each.details.get("table", ""))


def _sorted(objects: Iterable[CatalogObject]) -> list[CatalogObject]:
    return sorted(objects, key=lambda each: (each.details.get("oid", 0), each.name))


def _newest_first(objects: Iterable[CatalogObject]) -> list[CatalogObject]:
    return sorted(
        objects,
        key=lambda each: (each.details.get("oid", 0), each.details.get("number", 0), each.name),
        reverse=True,
    )
