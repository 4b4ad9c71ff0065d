"""Lints of what stands beside the tables: files, realtime, queues, sign-in without a name."""

from __future__ import annotations

from collections.abc import Iterator

from opsctl.adapters.sql import quote_literal
from opsctl.areas.rls_smoke.expressions import Reader, Reading
from opsctl.areas.rls_smoke.lint_catalog import Catalog
from opsctl.areas.rls_smoke.lint_hit import ERROR, NOTE, WARNING, Hit, joined
from opsctl.areas.rls_smoke.lint_objects import COMMANDS, READ, WRITES, PolicyRow, Relation

_ALL = (READ, *WRITES)


def lint_storage(catalog: Catalog, reader: Reader) -> Iterator[Hit]:
    """Return what is wrong with files, realtime and queues."""
    yield from _files(catalog, reader)
    yield from _realtime(catalog)
    yield from _queues(catalog)
    yield from _anonymous(catalog, reader)


def _files(catalog: Catalog, reader: Reader) -> Iterator[Hit]:
    for name in ("objects", "buckets"):
        table = catalog.by_name.get(f"storage.{name}")
        roles = [
            r for r in catalog.api_roles if table is not None and any(table.may(r, w) for w in _ALL)
        ]
        if table is not None and roles and not table.row_security:
            yield Hit(
                "storage-rls-disabled",
                table.key,
                f"{table.key} is without row-level security",
                ERROR,
                f"{joined(roles)} reach it through the Storage API",
                (f"ALTER TABLE {table.sql} ENABLE ROW LEVEL SECURITY",),
            )
    objects = catalog.by_name.get("storage.objects")
    public = [bucket.id for bucket in catalog.buckets or () if bucket.public]
    for policy in catalog.policies.get(objects.oid, ()) if objects is not None else ():
        if objects is not None:
            yield from _file_policy(catalog, reader, objects, policy, public)
    if public:
        yield Hit(
            "storage-bucket-public",
            "storage.buckets",
            f"Who knows its address reads any file of {joined(public, most=10)}",
            NOTE,
            "public buckets ask no policy for a file by its address",
            tuple(
                f"UPDATE storage.buckets SET public = false WHERE id = {quote_literal(each)}"
                for each in public
            ),
            "public is right for what everybody may see",
            objects=tuple(public),
        )


def _file_policy(
    catalog: Catalog, reader: Reader, objects: Relation, policy: PolicyRow, public: list[str]
) -> Iterator[Hit]:
    roles = catalog.policy_roles(policy)
    if not policy.permissive or not roles:
        return
    using, check = reader.using(policy), reader.check(policy)
    letters = policy.commands
    written = [
        COMMANDS[c].lower() for c in letters if c != "r" and _wide(check if c == "a" else using)
    ]
    if written:
        yield Hit(
            "storage-policy-too-wide",
            objects.key,
            f"{joined(roles)} may {joined(written)} anybody's files",
            ERROR if set(written) != {"insert"} else WARNING,
            f'policy "{policy.name}" asks for no more than the bucket',
            (policy.drop(objects),),
            "ask for the folder: (storage.foldername(name))[1] = (SELECT auth.uid())::text",
        )
    private = {bucket.id for bucket in catalog.buckets or () if not bucket.public}
    if "r" in letters and using is not None and _wide(using):
        read = sorted(private & using.buckets if using.buckets else private)
        if read:
            yield Hit(
                "storage-policy-too-wide",
                objects.key,
                f"{joined(roles)} may read anybody's files in {joined(read)}",
                ERROR if "anon" in roles and not using.any_user else WARNING,
                f'policy "{policy.name}" asks for no more than the bucket, which is not public',
                (policy.drop(objects),),
                "ask for the folder: (storage.foldername(name))[1] = (SELECT auth.uid())::text",
            )
        listed = [b for b in public if not using.buckets or b in using.buckets]
        if listed:
            yield Hit(
                "public-bucket-allows-listing",
                objects.key,
                f"{joined(roles)} may list every file of {joined(listed)}",
                WARNING,
                f'policy "{policy.name}"; files of a public bucket are read without any policy',
                (policy.drop(objects),),
            )


def _wide(reading: Reading | None) -> bool:
    return reading is not None and (reading.always or reading.buckets is not None)


def _realtime(catalog: Catalog) -> Iterator[Hit]:
    everything, tables = catalog.publications.get("supabase_realtime", (False, ()))
    if everything:
        yield Hit(
            "realtime-publishes-all-tables",
            "publication supabase_realtime",
            "Realtime publishes every table, those to come too",
            WARNING,
            "FOR ALL TABLES",
            ("DROP PUBLICATION supabase_realtime", "CREATE PUBLICATION supabase_realtime"),
            "then add the tables that clients listen to: ALTER PUBLICATION ... ADD TABLE",
        )
    for oid in tables:
        table = catalog.relations[oid]
        roles = [
            r for r in catalog.api_roles if table.may(r, READ) and catalog.uses(r, table.schema)
        ]
        if roles and not table.row_security and catalog.is_ours(table.schema):
            mend = (
                [f"ALTER PUBLICATION supabase_realtime DROP TABLE {table.sql}"]
                if not everything
                else []
            )
            yield Hit(
                "realtime-publishes-unprotected",
                table.key,
                f"Realtime sends every change of {table.key} to whoever listens",
                ERROR,
                f"{joined(roles)} may read it and it has no row-level security",
                tuple(mend) or (f"ALTER TABLE {table.sql} ENABLE ROW LEVEL SECURITY",),
                "or enable row-level security, with policies",
            )


def _queues(catalog: Catalog) -> Iterator[Hit]:
    served = any(name in catalog.exposed for name in ("pgmq", "pgmq_public"))
    for table in catalog.relations.values():
        if table.schema != "pgmq" or table.kind not in "rp" or table.name[:2] not in ("q_", "a_"):
            continue
        roles = [r for r in catalog.api_roles if any(table.may(r, word) for word in _ALL)]
        if roles and not table.row_security:
            yield Hit(
                "insecure-queue-exposed-in-api",
                table.key,
                f"The queue {table.name[2:]} has no row-level security",
                ERROR if served else WARNING,
                f"{joined(roles)} hold privileges on {table.key}"
                + ("" if served else "; the API does not expose queues today"),
                (f"ALTER TABLE {table.sql} ENABLE ROW LEVEL SECURITY",),
            )


def _anonymous(catalog: Catalog, reader: Reader) -> Iterator[Hit]:
    if not catalog.anonymous_users:
        return
    names = [
        f"{policy.name} of {catalog.relations[oid].key}"
        for oid, policies in catalog.policies.items()
        if catalog.has(catalog.relations[oid])
        for policy in policies
        if policy.permissive
        and "authenticated" in catalog.policy_roles(policy)
        and policy.command != "r"
        and not _asks_for_name(reader, policies, policy)
    ]
    if names:
        yield Hit(
            "auth-allow-anonymous-sign-ins",
            "auth.users",
            f"{len(names)} policies let people write who signed in anonymously",
            NOTE,
            f"they are authenticated like anybody: {joined(names, most=10)}",
            advice="where that is not meant, add: "
            "AND (SELECT (auth.jwt() ->> 'is_anonymous')::boolean) IS FALSE",
            objects=tuple(names),
        )


def _asks_for_name(reader: Reader, policies: tuple[PolicyRow, ...], policy: PolicyRow) -> bool:
    """Whether it, or a restrictive policy beside it, asks whether somebody is anonymous."""
    for each in (policy, *(other for other in policies if not other.permissive)):
        if any("is_anonymous" in reading.said for reading in reader.both(each)):
            return True
    return False
