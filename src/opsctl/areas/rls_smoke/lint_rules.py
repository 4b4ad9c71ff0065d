"""The rules of the lints, by the names that the field uses, and why each matters."""

from __future__ import annotations

from collections.abc import Mapping

SECURITY: Mapping[str, str] = {
    "rls-disabled-in-public": (
        "Without row-level security every row is open to whoever holds the public key."
    ),
    "policy-exists-rls-disabled": "Policies do nothing until row-level security is switched on.",
    "rls-enabled-no-policy": (
        "No row is reachable: either a policy is missing, or the privileges are."
    ),
    "rls-policy-always-true": (
        "A policy that is always true protects nothing, of a write least of all."
    ),
    "rls-policy-any-user": (
        "Anybody can sign up: being signed in is no right to somebody else's rows."
    ),
    "rls-policy-null-auth-disjunct": (
        "auth.uid() is null for everybody without a session, so the policy is true for them."
    ),
    "rls-references-user-metadata": (
        "Users change their own user_metadata, and with it their rights."
    ),
    "policy-compares-column-with-itself": (
        "The inner table's column hides the outer one's, and the condition is always true."
    ),
    "policy-check-loses-owner": (
        "An update may make a row somebody else's where WITH CHECK does not look at its owner."
    ),
    "policy-without-expression": (
        "A policy without expression admits nothing, whatever its name promises."
    ),
    "policy-wrong-role": "auth.uid() is null for anon, so the policy never holds.",
    "policy-for-public": "A policy without TO is for every role, anon among them.",
    "policy-role-not-in-api": (
        "Requests run as anon, authenticated, service_role or what authenticator may become."
    ),
    "policy-role-claim": "A token's `role` is a role of the database, not of the application.",
    "policies-only-restrictive": (
        "Restrictive policies take away: without a permissive one no row is left."
    ),
    "policy-without-grant": "A policy needs the privilege beside it; without, the statement fails.",
    "policy-reads-ungranted-table": (
        "A policy's sub-selects run with the caller's privileges; where one is missing, every "
        "statement fails."
    ),
    "policy-calls-ungranted-function": (
        "A policy's functions are called by the caller; where EXECUTE is missing, every "
        "statement fails."
    ),
    "policy-recursion": (
        "PostgreSQL refuses policies that read their own table again: every statement fails."
    ),
    "policy-not-understood": "What could not be read was not judged.",
    "rls-not-forced": "No policy binds a table's owner unless row-level security is forced.",
    "security-definer-view": (
        "A view reads with its owner's rights, past the policies of its tables, unless it "
        "says security_invoker."
    ),
    "view-without-security-barrier": (
        "Without security_barrier a caller's condition may see rows before the view's own filter."
    ),
    "auth-users-exposed": "auth.users holds addresses, sign-ins and metadata of every user.",
    "materialized-view-in-api": "A materialised view is a copy that no policy binds.",
    "foreign-table-in-api": "A foreign table reads elsewhere, and no policy binds it.",
    "sensitive-columns-exposed": (
        "Secrets and identities that everybody can read are as good as leaked."
    ),
    "function-search-path-mutable": (
        "Who calls chooses where names are looked up, and so what the function does."
    ),
    "anon-security-definer-function-executable": (
        "Anybody on the internet may run it with its owner's rights, past every policy."
    ),
    "authenticated-security-definer-function-executable": (
        "Everybody who signed up may run it with its owner's rights, past every policy."
    ),
    "outbound-http-callable": (
        "The database can be made to send requests into its own network, or data out of it."
    ),
    "api-role-privileged": (
        "Requests of strangers run as these roles: whatever they hold, everybody holds."
    ),
    "authenticator-inherits": (
        "authenticator should hold nothing until it becomes the role of a token."
    ),
    "schema-create-granted": (
        "Who may create objects can put theirs in the place of those that functions mean."
    ),
    "exposed-schema-undeclared": "What the settings do not name is not checked by anybody.",
    "table-granted-to-public": "PUBLIC is every role that there is and will be, anon too.",
    "api-role-may-truncate": "TRUNCATE and its like know no row-level security.",
    "sequence-writable": "Whoever sets a sequence back makes every insert fail.",
    "default-privileges-open": (
        "A new table is in the API before anybody has thought of its policies."
    ),
    "internal-schema-reachable": (
        "Secrets, jobs and users live there; the API has no business there."
    ),
    "extension-in-public": (
        "An extension's functions are in the API when it is in an exposed schema."
    ),
    "extension-versions-outdated": "Fixes reach an extension only by ALTER EXTENSION ... UPDATE.",
    "unsupported-reg-types": "pg_upgrade refuses such columns, so the database cannot be upgraded.",
    "fkey-to-auth-unique": (
        "Supabase Auth removes these constraints; the key would stop its upgrades."
    ),
    "foreign-key-guess": "A foreign key is checked without policies, and tells what exists.",
    "storage-rls-disabled": "Without row-level security every file is open.",
    "storage-policy-too-wide": (
        "A policy that asks for the bucket alone opens everybody's files in it."
    ),
    "storage-bucket-public": "A public bucket's files are read without any policy.",
    "public-bucket-allows-listing": (
        "A public bucket needs no policy to be read; with one, all its names can be listed."
    ),
    "realtime-publishes-unprotected": "Realtime sends changed rows to whoever may select them.",
    "realtime-publishes-all-tables": (
        "Tables to come are published before anybody has thought of it."
    ),
    "insecure-queue-exposed-in-api": (
        "Messages of a queue without row-level security are read and deleted by anybody."
    ),
    "auth-allow-anonymous-sign-ins": "Who signs in anonymously is authenticated like anybody else.",
    "pg-graphql-anon-table-exposed": (
        "GraphQL tells everybody the names and columns of what anon may select."
    ),
    "pg-graphql-authenticated-table-exposed": (
        "GraphQL tells everybody who signed up the names and columns of what they may select."
    ),
}

PERFORMANCE: Mapping[str, str] = {
    "auth-rls-initplan": "auth.uid() in a sub-select is run once; bare, it is run for each row.",
    "policy-function-per-row": (
        "A function without a row's columns gives one answer, but is asked for each row."
    ),
    "multiple-permissive-policies": (
        "Every permissive policy is tried for each row, and any of them opens it."
    ),
    "policy-column-unindexed": (
        "A policy is part of every query: without an index it reads the whole table."
    ),
    "unindexed-foreign-keys": "Deletes and joins read the whole referring table.",
    "no-primary-key": "Rows without a key cannot be replicated, updated or addressed one by one.",
    "duplicate-index": "Two alike cost twice the writes and serve no query more.",
    "unused-index": "An index that no query uses costs every write.",
    "invalid-index": "An invalid index costs every write and serves no query.",
    "table-bloat": "Empty pages are read, cached and backed up like full ones.",
    "autovacuum-disabled": "Dead rows stay where nobody vacuums.",
}

RULES: Mapping[str, str] = {**SECURITY, **PERFORMANCE}
"""Rule -> why it matters."""
