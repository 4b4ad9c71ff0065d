"""Rows made up for a scratch copy: for every actor some, so that each rule tells them apart.

Pure. A row belongs to one actor, and its foreign keys lead to rows of the same actor. Columns on
whose value a policy may depend (booleans, states, times of deletion) are varied. What a CHECK
constraint wants is not computed: each row comes with simpler and simpler alternatives, and the
first that the database takes is used.
"""

from __future__ import annotations

import itertools
import re
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

from opsctl.adapters.catalog import MANAGED_SCHEMAS
from opsctl.adapters.sql import quote_identifier, quote_literal
from opsctl.areas.rls_smoke.facts import Column, Relation, Schema
from opsctl.areas.rls_smoke.policy_file import Actor, PolicyFile
from opsctl.areas.rls_smoke.tenancy import USERS, Links, Model

MAX_VARIANTS = 8
"""Rows of one actor in one table."""

_ADMIN_WORDS = re.compile(r"admin|owner|manager|super|root", re.IGNORECASE)
_ROLE_COLUMN = re.compile(r"role|permission|access|level|rank", re.IGNORECASE)
_ADMIN_FLAG = re.compile(r"^(is_)?(super)?(admin|owner|staff|superuser|moderator)$", re.IGNORECASE)
_VISIBILITY = re.compile(
    r"delet|archiv|publi|priva|hidden|draft|visib|status|state|expire|activ|approv|lock", re.I
)
_ENDING = re.compile(r"expire|until|ends?_|valid_to", re.IGNORECASE)
_TEXTS = (
    "abc{n}", "A{n}", "EUR", "en", "a{n}@example.com", "https://example.com/{n}", "+491234567{n}",
    "{n}0000", "2026-01-01", "#aabbcc", "ABC", "a",
)  # fmt: skip
_NUMBERS = ("1", "0", "10", "100", "0.5", "-1")


@dataclass(frozen=True)
class MadeRow:
    """One row to insert, with its alternatives: the values as SQL literals."""

    relation: str
    actor: str
    variant: int
    alternatives: tuple[Mapping[str, str], ...]
    shared_with: str = ""
    """By whom it may be used as well."""

    @property
    def label(self) -> str:
        """Whose it is, for a person: `a's`, `a's no. 2`, `a's for peer`."""
        if self.shared_with:
            return f"{self.actor}'s for {self.shared_with}"
        return f"{self.actor}'s" if self.variant == 0 else f"{self.actor}'s no. {self.variant + 1}"


def make_rows(schema: Schema, model: Model, file: PolicyFile) -> tuple[MadeRow, ...]:
    """Return rows for every table that a policy or the API could meet, parents first."""
    return tuple(_Maker(schema, model, file).rows())


def role_values(schema: Schema, model: Model) -> tuple[str, str] | None:
    """Return how the members' table spells (a plain member, an admin), if it has roles."""
    if model.members is None:
        return None
    relation = schema.relations[model.members[0]]
    maker = _Maker(schema, model, PolicyFile(actors={}))
    for column in relation.columns:
        if maker.is_role(relation, column):
            known = maker.literals(relation, column)
            admin = next((w for w in known if "admin" in w.lower()), None) or next(
                (w for w in known if _ADMIN_WORDS.search(w)), "admin"
            )
            plain = next((w for w in known if not _ADMIN_WORDS.search(w)), "member")
            return plain, admin
    flags = any(_ADMIN_FLAG.match(column.name) for column in relation.columns)
    return ("member", "admin") if flags else None


def varied_conditions(
    schema: Schema, model: Model, file: PolicyFile, relation: Relation
) -> Iterator[tuple[str, str]]:
    """Yield (name, condition) for each value of each column that is varied in a relation.

    Of a view, the columns are looked up in what it reads.
    """
    maker = _Maker(schema, model, file)
    for source in (relation, *(schema.relations[key] for key in relation.reads)):
        if source.key not in model.links:
            continue
        for column in source.columns:
            if relation.column(column.name) is None:
                continue
            name = column.name if re.fullmatch("[a-z_][a-z0-9_]*", column.name) else (
                quote_identifier(column.name)
            )  # fmt: skip
            choices = maker.choices(source, column)
            if len(choices) < 2:
                continue
            if column.base == "bool":
                yield column.name, name
                yield f"not_{column.name}", f"not {name}"
            elif column.category == "D" and "NULL" in choices:
                yield f"no_{column.name}", f"{name} is null"
                yield f"with_{column.name}", f"{name} is not null"
            elif column.category == "D":
                yield f"{column.name}_ahead", f"{name} > now()"
            else:
                for value in choices:
                    yield f"{column.name}_{value.strip(chr(39))}", f"{name} = {value}"


def role_conditions(schema: Schema, model: Model, relation: Relation) -> Iterator[tuple[str, str]]:
    """Yield (column, SQL value) for every role that rows of a relation may give."""
    maker = _Maker(schema, model, PolicyFile(actors={}))
    for column in relation.columns:
        if maker.is_role(relation, column):
            for word in maker.literals(relation, column):
                yield column.name, quote_literal(word)


def admin_columns(schema: Schema, model: Model, relation: Relation) -> Iterator[tuple[str, str]]:
    """Yield (column, SQL value that an admin has) for the columns that say what a user may do."""
    maker = _Maker(schema, model, PolicyFile(actors={}))
    for column in relation.columns:
        if column.base == "bool" and _ADMIN_FLAG.match(column.name):
            yield column.name, "true"
        elif maker.is_role(relation, column):
            words = [w for w in maker.literals(relation, column) if _ADMIN_WORDS.search(w)]
            if words:
                yield column.name, quote_literal(words[0])


class _Maker:
    def __init__(self, schema: Schema, model: Model, file: PolicyFile) -> None:
        self._schema = schema
        self._model = model
        self._file = file
        self._texts = _all_texts(schema, file)
        self._people = {n: a for n, a in file.actors.items() if a.user is not None}
        self._made: dict[tuple[str, str], list[Mapping[str, str]]] = {}
        self._counter = itertools.count(1)

    def rows(self) -> Iterator[MadeRow]:
        for relation in self._in_order():
            links = self._model.links[relation.key]
            for name, actor in self._owners(relation, links).items():
                found: list[Mapping[str, str]] = []
                for number, varied in enumerate(self._variants(relation)):
                    row = self._row(relation, links, (name, actor), number, varied)
                    found.append(row.alternatives[0])
                    yield row
                self._made[relation.key, name] = found
                yield from self._shared(relation, links, (name, actor))

    def _shared(
        self, relation: Relation, links: Links, owner: tuple[str, Actor]
    ) -> Iterator[MadeRow]:
        """Yield the rows by which somebody shares what is its own with another of its tenant."""
        name, actor = owner
        columns = [n for n in links.user if n not in relation.primary_key[:1]]
        parents = [
            key.target for key in relation.foreign_keys
            if key.target not in (USERS, self._model.tenants)
            and (rows := self._model.links.get(key.target)) is not None
            and rows.user and rows.user != self._schema.relations[key.target].primary_key
        ]  # fmt: skip
        partner = self._partner(name, actor)
        if not columns or not parents or partner is None:
            return
        roles = [c for c in relation.columns if self.is_role(relation, c)]
        words = self.literals(relation, roles[0])[:4] if roles else []
        for number, word in enumerate(words or [""], start=MAX_VARIANTS):
            row = self._row(relation, links, owner, number, {})
            changed = {column: quote_literal(str(partner[1].user)) for column in columns}
            if word:
                changed[roles[0].name] = quote_literal(word)
            yield replace(
                row,
                alternatives=tuple({**each, **changed} for each in row.alternatives),
                shared_with=partner[0],
            )

    def _partner(self, name: str, actor: Actor) -> tuple[str, Actor] | None:
        """Return the next person of the same tenant, or the next of all where there are none."""
        names = [
            n for n, other in self._people.items()
            if not self._model.has_tenants or (actor.tenants and other.tenants == actor.tenants)
        ]  # fmt: skip
        if name not in names or len(names) < 2:
            return None
        chosen = names[(names.index(name) + 1) % len(names)]
        return chosen, self._people[chosen]

    def _owners(self, relation: Relation, links: Links) -> Mapping[str, Actor]:
        """Return who has rows there: one person a tenant for tenants, else everybody."""
        if relation.key == self._model.tenants:
            first: dict[str | int, str] = {}
            for name, actor in self._people.items():
                for tenant in actor.tenants[:1]:
                    first.setdefault(tenant, name)
            return {name: self._people[name] for name in first.values()}
        in_tenant = "tenant" in links.rows
        people = {
            name: actor for name, actor in self._people.items()
            if actor.tenants or not (in_tenant or (self._model.has_tenants and not links.user))
        }  # fmt: skip
        if links.user and relation.primary_key and relation.primary_key[0] in links.user:
            return people if in_tenant else dict(self._people)
        return people

    def _in_order(self) -> list[Relation]:
        """Return the tables to fill, those that others refer to first."""
        wanted = {
            key: each for key, each in self._schema.relations.items()
            if each.kind in ("r", "p") and each.partition_of is None and self._matters(each)
        }  # fmt: skip
        grown = True
        while grown:
            more = {
                key.target for each in wanted.values() for key in each.foreign_keys
                if key.target not in wanted and key.target in self._schema.relations
            }  # fmt: skip
            grown = bool(more)
            wanted.update({key: self._schema.relations[key] for key in more})
        done: dict[str, Relation] = {}

        def visit(key: str, path: frozenset[str]) -> None:
            if key in done or key in path or key not in wanted:
                return
            for each in wanted[key].foreign_keys:
                visit(each.target, path | {key})
            done[key] = wanted[key]

        for key in sorted(wanted):
            visit(key, frozenset())
        return list(done.values())

    def _matters(self, each: Relation) -> bool:
        return each.key == USERS or each.schema not in MANAGED_SCHEMAS or bool(each.policies)

    def _variants(self, relation: Relation) -> list[dict[str, str]]:
        """Return what is varied, the plain row first; at most MAX_VARIANTS."""
        choices: dict[str, list[str]] = {}
        for column in relation.columns:
            varied = self.choices(relation, column)
            if len(varied) > 1:
                choices[column.name] = varied
        plain = {name: values[0] for name, values in choices.items()}
        found = [plain]
        for depth in (1, 2, 3):
            for names in itertools.combinations(choices, depth):
                for values in itertools.product(*(choices[name][1:] for name in names)):
                    found.append({**plain, **dict(zip(names, values, strict=True))})
        if relation.partition_key:
            # Every partition is to get rows before anything else is varied.
            key = relation.partition_key[0]
            found.sort(key=lambda row: sum(row[n] != plain[n] for n in row if n != key))
        return found[:MAX_VARIANTS]

    def choices(self, relation: Relation, column: Column) -> list[str]:
        """Return the values between which a column is varied; fewer than two: it is not."""
        name = column.name
        if relation.partition_key and name == relation.partition_key[0]:
            bounds = self._partition_values(relation)
            if bounds:
                return bounds
        linked = {n for key in relation.foreign_keys for n in key.columns}
        if name in linked or column.generated or name in relation.primary_key:
            return []
        links = self._model.links[relation.key]
        if name in links.user or name == links.tenant or _ADMIN_FLAG.match(name):
            return []
        if self.is_role(relation, column):
            return []
        asked = bool(_VISIBILITY.search(name)) or bool(
            re.search(rf"\b{re.escape(name)}\b", self._texts)
        )
        if not asked:
            return []
        if column.base == "bool":
            return ["false", "true"]
        if column.labels or self.literals(relation, column):
            return [quote_literal(each) for each in self.literals(relation, column)][:5]
        if column.category == "D" and (column.nullable or _ENDING.search(name)):
            past, future = "now() - interval '1 day'", "now() + interval '1 day'"
            first = [future, past] if _ENDING.search(name) else []
            return first + (["NULL"] if column.nullable else []) + ([] if first else [past])
        return []

    def _partition_values(self, relation: Relation) -> list[str]:
        found = []
        for each in self._schema.relations.values():
            if each.partition_of == relation.key:
                match = re.search(r"(?:FROM|IN) \((.*?)\)(?: TO|$)", each.partition_bound)
                if match:
                    first = match[1].split(",")[0].strip()
                    found.append(f"({first})" if first != "MINVALUE" else "")
        return [value for value in found if value]

    def is_role(self, relation: Relation, column: Column) -> bool:
        """Whether a column says what a user may do."""
        links = self._model.links[relation.key]
        return bool(links.user) and bool(_ROLE_COLUMN.search(column.name)) and (
            column.category in ("S", "E")
        )  # fmt: skip

    def literals(self, relation: Relation, column: Column) -> list[str]:
        """Return the values that a column is known to take, from its type, checks and policies."""
        if column.labels:
            return list(column.labels)
        if column.category != "S":
            return []
        name = re.escape(column.name)
        found: list[str] = []
        # In its own constraints first: only they say what may be stored.
        for text in relation.checks:
            found += _compared(name, text)
        if found:
            return list(dict.fromkeys(found))
        return list(dict.fromkeys(_compared(name, self._texts)))

    def _row(
        self,
        relation: Relation,
        links: Links,
        owner: tuple[str, Actor],
        number: int,
        varied: Mapping[str, str],
    ) -> MadeRow:
        name = owner[0]
        fixed = {**varied, **self._linked(relation, links, owner, number)}
        serial = next(self._counter)
        full: dict[str, str] = {}
        lean: dict[str, str] = {}
        for column in relation.columns:
            if column.generated:
                continue
            if column.name in fixed:
                full[column.name] = lean[column.name] = fixed[column.name]
                continue
            value = self._value(relation, column, name, serial)
            if value is not None:
                full[column.name] = value
            must = not column.nullable and not column.default and not column.identity
            unique = column.name in {n for each in relation.uniques for n in each}
            if value is not None and (must or (unique and not column.nullable)):
                lean[column.name] = value
        return MadeRow(
            relation.key, name, number, (full, lean, *_simpler(relation, lean, fixed, serial))
        )

    def _linked(
        self, relation: Relation, links: Links, owner: tuple[str, Actor], number: int
    ) -> dict[str, str]:
        """Return the values of columns that lead to the row's owner, and its role."""
        name, actor = owner
        found: dict[str, str] = {}
        for column in relation.columns:
            if column.name in links.user and actor.user is not None:
                found[column.name] = quote_literal(str(actor.user))
            elif column.name == links.tenant and actor.tenants:
                found[column.name] = quote_literal(str(actor.tenants[0]))
            elif self.is_role(relation, column):
                found[column.name] = self._role(relation, column, actor)
            elif _ADMIN_FLAG.match(column.name) and column.base == "bool":
                found[column.name] = "true" if _is_admin(actor) else "false"
            elif column.category == "A" and _people_array(column):
                found[column.name] = f"ARRAY[{quote_literal(str(actor.user))}]::{column.type}"
        for key in relation.foreign_keys:
            if key.target == USERS and all(each in found for each in key.columns):
                continue
            parents = self._made.get((key.target, name)) or self._made.get(
                (key.target, self._first_of(key.target, actor)), []
            )
            if not parents:
                continue
            parent = parents[number % len(parents)]
            for column_name, target in zip(key.columns, key.target_columns, strict=True):
                if target in parent:
                    found[column_name] = parent[target]
        return found

    def _first_of(self, target: str, actor: Actor) -> str:
        """Return who holds the row of a table with one row a tenant."""
        for (key, name), _ in self._made.items():
            if key == target and self._people[name].tenants[:1] == actor.tenants[:1]:
                return name
        return ""

    def _role(self, relation: Relation, column: Column, actor: Actor) -> str:
        known = self.literals(relation, column)
        if actor.member_as is not None and (actor.member_as in known or not known):
            return quote_literal(actor.member_as)
        admin = _is_admin(actor)
        fitting = [each for each in known if bool(_ADMIN_WORDS.search(each)) == admin]
        plain = "admin" if admin else "member"
        return quote_literal((fitting or ([plain] if plain in known or not known else known))[0])

    def _value(self, relation: Relation, column: Column, name: str, serial: int) -> str | None:
        if column.identity or column.name in relation.primary_key:
            return _key_value(column, relation.key, serial)
        if relation.key == USERS and column.default:
            return None
        maker = _MAKERS.get(column.base) or _MAKERS.get(column.category)
        if column.labels:
            return quote_literal(column.labels[0])
        if column.category == "S":
            known = self.literals(relation, column)
            if known:
                return quote_literal(known[0])
            return _text(column, f"mk-{name}-{relation.name}.{column.name}-{serial}", serial)
        if maker is not None:
            return maker(column, serial)
        return None if column.nullable or column.default else quote_literal("")


def _simpler(
    relation: Relation, lean: Mapping[str, str], fixed: Mapping[str, str], serial: int
) -> Iterator[Mapping[str, str]]:
    """Yield rows with other texts and numbers, for constraints that nothing here understands."""
    if not relation.checks and not any(c.type.startswith("character") for c in relation.columns):
        return
    kinds = {c.name: c.category for c in relation.columns}
    keys = set(relation.primary_key)
    loose = [n for n in lean if n not in fixed and n not in keys]
    for index in range(max(len(_TEXTS), len(_NUMBERS))):
        row = dict(lean)
        for name in loose:
            if kinds[name] == "S":
                text = _TEXTS[index % len(_TEXTS)].format(n=serial)
                row[name] = quote_literal(text)
            elif kinds[name] == "N":
                row[name] = _NUMBERS[index % len(_NUMBERS)]
        yield row


def _all_texts(schema: Schema, file: PolicyFile) -> str:
    parts = [
        text for each in schema.relations.values() for policy in each.policies
        for text in (policy.using, policy.check)
    ]  # fmt: skip
    parts += schema.bodies.values()
    # Only what a view asks of its rows; it names every other column, too.
    parts += [each.definition.partition("WHERE")[2].partition("GROUP BY")[0]
              for each in schema.relations.values()]  # fmt: skip
    for rules in file.tables.values():
        parts += rules.rows.values()
        parts += [text for each in rules.may.values() if isinstance(each, dict)
                  for text in each.values()]  # fmt: skip
    return "\n".join(parts)


def _compared(name: str, text: str) -> list[str]:
    """Return the text literals that a column is compared with."""
    column = rf"(?<![\w'])\"?{name}\"?\)?(?:::[\w ]+)?\)?"
    found = []
    for match in re.finditer(
        rf"{column} *(?:=|<>|!=) *(?:any|all)? *\(?'((?:[^']|'')*)'", text, re.I
    ):
        found.append(match[1].replace("''", "'"))
    for match in re.finditer(rf"{column} *(?:= *any *\(+ *array *\[|in *\()([^\])]*)", text, re.I):
        found += [each.replace("''", "'") for each in re.findall(r"'((?:[^']|'')*)'", match[1])]
    return found


def _is_admin(actor: Actor) -> bool:
    return bool(actor.member_as and _ADMIN_WORDS.search(actor.member_as))


def _people_array(column: Column) -> bool:
    return bool(re.search(r"user|member|owner|viewer|editor|people", column.name)) and (
        column.base in ("_uuid", "_text")
    )


def _key_value(column: Column, table: str, serial: int) -> str | None:
    if column.base == "uuid":
        return quote_literal(str(uuid.uuid5(uuid.NAMESPACE_URL, f"{table}/{serial}")))
    if column.category == "N":
        return str((1 << 14) + serial if column.base == "int2" else 1_900_000_000 + serial)
    if column.category == "S":
        return _text(column, f"mk-{serial}", serial)
    maker = _MAKERS.get(column.base) or _MAKERS.get(column.category)
    return maker(column, serial) if maker else None


def _text(column: Column, text: str, serial: int) -> str:
    if re.search(r"e?mail", column.name):
        text = f"{text.replace(' ', '')}@example.com"
    limit = re.search(r"\((\d+)\)$", column.type)
    most = int(limit[1]) if limit else 1 if column.type == "character" else 10_000
    if len(text) > most:
        text = str(serial).rjust(most, "x")[-most:]
    return quote_literal(text)


_MAKERS: dict[str, Callable[[Column, int], str]] = {
    "uuid": lambda c, n: quote_literal(str(uuid.uuid5(uuid.NAMESPACE_OID, f"{c.name}/{n}"))),
    "bool": lambda c, n: "false",
    "bytea": lambda c, n: f"'\\x{n:08x}'",
    "json": lambda c, n: "'{}'",
    "jsonb": lambda c, n: "'{}'",
    "inet": lambda c, n: f"'10.0.{n // 256 % 256}.{n % 256}'",
    "cidr": lambda c, n: "'10.0.0.0/8'",
    "macaddr": lambda c, n: "'08:00:2b:01:02:03'",
    "interval": lambda c, n: "'1 day'",
    "time": lambda c, n: "'12:00'",
    "timetz": lambda c, n: "'12:00+00'",
    "xml": lambda c, n: "'<a/>'",
    "tsvector": lambda c, n: "'a'",
    "point": lambda c, n: "'(0,0)'",
    "bit": lambda c, n: "0::" + c.type,
    "A": lambda c, n: "'{}'",
    "R": lambda c, n: "'empty'",
    "D": lambda c, n: f"timestamptz '2026-01-01' + {n} * interval '1 minute'",
    "N": lambda c, n: str(n % 100 + 1),
}


def insert_sql(relation: Relation, row: Mapping[str, str]) -> str:
    """Return the INSERT of one row, keys and identities given."""
    if not row:
        return f"INSERT INTO {relation.sql} DEFAULT VALUES"
    names = ", ".join(quote_identifier(name) for name in row)
    overriding = " OVERRIDING SYSTEM VALUE" if any(c.identity for c in relation.columns) else ""
    return f"INSERT INTO {relation.sql} ({names}){overriding} VALUES ({', '.join(row.values())})"
