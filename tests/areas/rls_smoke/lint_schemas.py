"""Schemas with one hole each, and their near twins that are sound.

`base` is common to both. A twin differs in no more than makes it sound, so that a lint that
looks at a name, or at one clause, is wrong about one of the two.
"""
# ruff: noqa: E501 - SQL

from __future__ import annotations

from dataclasses import dataclass

PRELUDE = """
alter table auth.users enable row level security;
alter table storage.buckets enable row level security;
grant all on storage.objects, storage.buckets to anon, authenticated, service_role;
"""
"""What a hosted project has beside the sandbox's baseline."""

OWN = """
create table public.notes (id uuid primary key default gen_random_uuid(),
  user_id uuid not null default auth.uid() references auth.users (id), body text);
create index on public.notes (user_id);
alter table public.notes enable row level security;
"""
"""A table whose rows have an owner, with row-level security and without a policy."""

OWN_READ = """
create policy notes_read on public.notes for select to authenticated using ((select auth.uid()) = user_id);
"""

TEAMS = """
create table public.teams (id bigint generated always as identity primary key, name text not null);
create table public.members (team_id bigint not null references public.teams (id),
  user_id uuid not null references auth.users (id), role text not null default 'member', primary key (user_id, team_id));
create index on public.members (team_id);
create table public.documents (id uuid primary key default gen_random_uuid(),
  team_id bigint not null references public.teams (id), body text);
create index on public.documents (team_id);
alter table public.teams enable row level security;
alter table public.members enable row level security;
alter table public.documents enable row level security;
create policy members_self on public.members for select to authenticated using (user_id = (select auth.uid()));
create policy teams_read on public.teams for select to authenticated
  using (id in (select m.team_id from public.members m where m.user_id = (select auth.uid())));
"""


@dataclass(frozen=True)
class Case:
    """A hole, what must be found in it, and its sound twin."""

    name: str
    finds: tuple[str, str]
    """(rule, object)."""
    hole: str
    sound: str
    base: str = ""
    also: frozenset[tuple[str, str]] = frozenset()
    """What else is true of the hole."""
    schemas: tuple[str, ...] = ("public",)
    """Those that the settings call exposed."""


CASES = (
    # Row-level security.
    Case("no row-level security", ("rls-disabled-in-public", "public.invoices"),
         "create table public.invoices (id bigint primary key, total numeric);",
         """create table public.invoices (id bigint primary key, total numeric);
         revoke all on public.invoices from anon, authenticated;"""),
    Case("no row-level security, one column granted", ("rls-disabled-in-public", "public.invoices"),
         "grant select (total) on public.invoices to anon;",
         "grant select (total) on public.invoices to service_role;",
         """create table public.invoices (id bigint primary key, total numeric);
         revoke all on public.invoices from anon, authenticated;"""),
    Case("a partition asked for by itself", ("rls-disabled-in-public", "public.events_2025"),
         "", "alter table public.events_2025 enable row level security; revoke all on public.events_2025 from anon, authenticated;",
         """create table public.events (id bigint not null, at date not null, user_id uuid not null, primary key (id, at)) partition by range (at);
         create index on public.events (user_id);
         alter table public.events enable row level security;
         create policy own on public.events for select to authenticated using ((select auth.uid()) = user_id);
         create table public.events_2025 partition of public.events for values from ('2025-01-01') to ('2026-01-01');"""),
    Case("the history of Prisma's migrations", ("rls-disabled-in-public", "public._prisma_migrations"),
         "", "alter table public._prisma_migrations enable row level security; revoke all on public._prisma_migrations from anon, authenticated;",
         "create table public._prisma_migrations (id varchar(36) primary key, checksum varchar(64) not null, logs text);"),
    Case("a table of another exposed schema", ("rls-disabled-in-public", "api.orders"),
         "grant usage on schema api to anon;", "",
         """create schema api; create table api.orders (id bigint primary key); grant select on api.orders to anon;""",
         schemas=("public", "api")),
    Case("policies without row-level security", ("policy-exists-rls-disabled", "public.notes"),
         "alter table public.notes disable row level security;", "", OWN + OWN_READ,
         also=frozenset({("rls-disabled-in-public", "public.notes")})),
    Case("no policy", ("rls-enabled-no-policy", "public.notes"),
         "", "revoke all on public.notes from anon, authenticated;", OWN),
    Case("a table of anon's own", ("rls-not-forced", "public.notes"),
         "", "alter table public.notes force row level security;",
         OWN + OWN_READ + "alter table public.notes owner to authenticated;"),
    # Policies that are too wide.
    Case("all is true, for all", ("rls-policy-always-true", "public.notes"),
         """create policy "Service role has full access" on public.notes using (true) with check (true);""",
         """create policy "Service role has full access" on public.notes to service_role using (true) with check (true);
         create policy notes_read on public.notes for select to authenticated using ((select auth.uid()) = user_id);""", OWN),
    Case("update of everything", ("rls-policy-always-true", "public.notes"),
         "create policy w on public.notes for update to authenticated using (true);",
         "create policy w on public.notes for update to authenticated using ((select auth.uid()) = user_id);", OWN + OWN_READ),
    Case("delete by a truth in disguise", ("rls-policy-always-true", "public.notes"),
         "create policy d on public.notes for delete to authenticated using (1 = 1 or (select auth.uid()) = user_id);",
         "create policy d on public.notes for delete to authenticated using (1 = 1 and (select auth.uid()) = user_id);", OWN + OWN_READ),
    Case("delete where a required column is not null", ("rls-policy-always-true", "public.notes"),
         "create policy d on public.notes for delete to authenticated using (user_id is not null);",
         "create policy d on public.notes for delete to authenticated using (user_id is not null and (select auth.uid()) = user_id);", OWN + OWN_READ),
    Case("delete by a function that says true", ("rls-policy-always-true", "public.notes"),
         "create function public.allowed() returns boolean language sql stable set search_path = '' as $$ select true $$;" + "create policy d on public.notes for delete to authenticated using ((select public.allowed()));",
         "create function public.allowed() returns boolean language sql stable set search_path = '' as $$ select auth.jwt() ->> 'aal' = 'aal2' $$;" + "create policy d on public.notes for delete to authenticated using ((select public.allowed()) and user_id = (select auth.uid()));", OWN + OWN_READ),
    Case("insert of anything", ("rls-policy-always-true", "public.notes"),
         "create policy i on public.notes for insert to authenticated with check (true);",
         """create policy i on public.notes for insert to authenticated with check (true);
         create policy own on public.notes as restrictive for insert to authenticated with check ((select auth.uid()) = user_id);""", OWN + OWN_READ),
    Case("rows given away", ("rls-policy-always-true", "public.notes"),
         "create policy w on public.notes for update to authenticated using ((select auth.uid()) = user_id) with check (true);",
         "create policy w on public.notes for update to authenticated using ((select auth.uid()) = user_id);", OWN + OWN_READ),
    Case("a check that forgets the owner", ("policy-check-loses-owner", "public.notes"),
         "create policy w on public.notes for update to authenticated using ((select auth.uid()) = user_id) with check (body is not null);",
         "create policy w on public.notes for update to authenticated using ((select auth.uid()) = user_id) with check ((select auth.uid()) = user_id and body is not null);", OWN + OWN_READ),
    Case("whoever is signed in may write", ("rls-policy-any-user", "public.notes"),
         "create policy w on public.notes for update to authenticated using ((select auth.uid()) is not null);",
         "create policy w on public.notes for update to authenticated using ((select auth.uid()) is not null and (select auth.uid()) = user_id);", OWN + OWN_READ),
    Case("whoever has the role may write", ("rls-policy-any-user", "public.notes"),
         "create policy w on public.notes for delete using ((select auth.role()) = 'authenticated');",
         "create policy w on public.notes for delete using ((select auth.role()) = 'service_role');", OWN + OWN_READ),
    Case("true without a session", ("rls-policy-null-auth-disjunct", "public.notes"),
         "create policy r on public.notes for select using ((select auth.uid()) is null or (select auth.uid()) = user_id);",
         "create policy r on public.notes for select using ((select auth.uid()) is not null and (select auth.uid()) = user_id);", OWN),
    Case("public read, as it is said", ("rls-policy-always-true", "public.posts"),
         "create policy r on public.posts for select to anon, authenticated using (true);",
         "create policy r on public.posts for select to anon, authenticated using (published);",
         """create table public.posts (id bigint primary key, title text, published boolean not null default false);
         alter table public.posts enable row level security;"""),
    # By what, and for whom.
    Case("user_metadata in the token", ("rls-references-user-metadata", "public.notes"),
         "create policy d on public.notes for delete to authenticated using ((select auth.jwt() -> 'user_metadata' ->> 'role') = 'admin');",
         "create policy d on public.notes for delete to authenticated using ((select auth.jwt() -> 'app_metadata' ->> 'role') = 'admin');", OWN + OWN_READ),
    Case("user_metadata by a path", ("rls-references-user-metadata", "public.notes"),
         "create policy d on public.notes for delete to authenticated using ((select auth.jwt() #>> '{user_metadata,role}') = 'admin');",
         "create policy d on public.notes for delete to authenticated using ((select auth.jwt() #>> '{app_metadata,user_metadata_editor}') = 'true');", OWN + OWN_READ),
    Case("user_metadata in a helper", ("rls-references-user-metadata", "public.notes"),
         "create function private.is_admin() returns boolean language sql stable security definer set search_path = '' as $$ select exists (select 1 from auth.users u where u.id = auth.uid() and u.raw_user_meta_data ->> 'role' = 'admin') $$;" + "create policy d on public.notes for delete to authenticated using ((select private.is_admin()));",
         "create function private.is_admin() returns boolean language sql stable security definer set search_path = '' as $$ /* never raw_user_meta_data */ select exists (select 1 from auth.users u where u.id = auth.uid() and u.raw_app_meta_data ->> 'role' = 'admin') $$;" + "create policy d on public.notes for delete to authenticated using ((select private.is_admin()));",
         "create schema private; grant usage on schema private to authenticated;" + OWN + OWN_READ),
    Case("a column that hides its namesake", ("policy-compares-column-with-itself", "public.documents"),
         "create policy r on public.documents for select to authenticated using (exists (select 1 from public.members m where m.team_id = team_id and m.user_id = (select auth.uid())));",
         "create policy r on public.documents for select to authenticated using (exists (select 1 from public.members m where m.team_id = documents.team_id and m.user_id = (select auth.uid())));", TEAMS),
    Case("identity asked of anon", ("policy-wrong-role", "public.notes"),
         "create policy r on public.notes for select to anon using ((select auth.uid()) = user_id);",
         "create policy r on public.notes for select to authenticated using ((select auth.uid()) = user_id);", OWN),
    Case("a role that no request runs as", ("policy-role-not-in-api", "public.notes"),
         "create policy e on public.notes for update to editor using (user_id = (select auth.uid()));",
         "create policy e on public.notes for update to editor using (user_id = (select auth.uid())); grant editor to authenticator;",
         "create role editor nologin;" + OWN + OWN_READ),
    Case("a policy without expression", ("policy-without-expression", "public.notes"),
         "create policy r on public.notes for select to authenticated;",
         "create policy r on public.notes for select to authenticated using (user_id = (select auth.uid()));", OWN),
    Case("identity asked of everybody", ("policy-for-public", "schema public"),
         "create policy r on public.notes for select using ((select auth.uid()) = user_id);", OWN_READ, OWN),
    Case("a role of the application in the token", ("policy-role-claim", "public.notes"),
         "create policy d on public.notes for delete to authenticated using ((select auth.jwt() ->> 'role') = 'admin');",
         "create policy d on public.notes for delete to authenticated using ((select auth.jwt() ->> 'role') = 'moderator' or (select auth.jwt() -> 'app_metadata' ->> 'role') = 'admin');",
         OWN + OWN_READ + "create role moderator nologin; grant moderator to authenticator;"),
    Case("nothing but restrictions", ("policies-only-restrictive", "public.notes"),
         "create policy own on public.notes as restrictive to authenticated using (user_id = (select auth.uid()));",
         "create policy own on public.notes as restrictive to authenticated using (user_id = (select auth.uid()));" + OWN_READ, OWN),
    Case("a policy without its privilege", ("policy-without-grant", "public.notes"),
         "revoke insert on public.notes from anon, authenticated;",
         "revoke insert on public.notes from anon, authenticated; grant insert (body, user_id) on public.notes to authenticated;",
         OWN + OWN_READ + "create policy i on public.notes for insert to authenticated with check (user_id = (select auth.uid()));"),
    Case("a table that the policy may not read", ("policy-reads-ungranted-table", "public.documents"),
         "create policy r on public.documents for select to authenticated using (exists (select 1 from private.members m where m.team_id = documents.team_id and m.user_id = (select auth.uid())));",
         "grant select on private.members to authenticated;" + "create policy r on public.documents for select to authenticated using (exists (select 1 from private.members m where m.team_id = documents.team_id and m.user_id = (select auth.uid())));",
         """create schema private; grant usage on schema private to authenticated;
         create table private.members (team_id bigint, user_id uuid, primary key (team_id, user_id));
         create table public.documents (id bigint primary key, team_id bigint not null); create index on public.documents (team_id);
         alter table public.documents enable row level security;"""),
    Case("a function that the policy may not call", ("policy-calls-ungranted-function", "public.notes"),
         "revoke execute on function private.team() from public;", "revoke execute on function private.team() from public; grant execute on function private.team() to authenticated;",
         """create schema private; grant usage on schema private to authenticated;
         create function private.team() returns uuid language sql stable security definer set search_path = '' as $$ select auth.uid() $$;"""
         + OWN + "create policy r on public.notes for select to authenticated using (user_id = (select private.team()));"),
    Case("a policy that reads its own table", ("policy-recursion", "public.members"),
         "create policy members_team on public.members for delete to authenticated using (team_id in (select m.team_id from public.members m where m.user_id = (select auth.uid())));",
         """create schema private; grant usage on schema private to authenticated;
         create function private.my_teams() returns setof bigint language sql stable security definer set search_path = '' as $$ select team_id from public.members where user_id = auth.uid() $$;
         create policy members_team on public.members for delete to authenticated using (team_id in (select private.my_teams()));""", TEAMS),
    Case("two tables that read one another", ("policy-recursion", "public.a"),
         "create policy b_read on public.b for select to authenticated using (exists (select 1 from public.a where a.b_id = b.id));",
         "create policy b_read on public.b for select to authenticated using (user_id = (select auth.uid()));",
         """create table public.b (id bigint primary key, user_id uuid not null); create index on public.b (user_id);
         create table public.a (id bigint primary key, b_id bigint not null references public.b (id)); create index on public.a (b_id);
         alter table public.a enable row level security; alter table public.b enable row level security;
         create policy a_read on public.a for select to authenticated using (exists (select 1 from public.b where b.id = a.b_id));"""),
    Case("an insert that counts in its own table", ("policy-recursion", "public.notes"),
         OWN_READ + "create policy i on public.notes for insert to authenticated with check (not exists (select 1 from public.notes n where n.user_id = notes.user_id));",
         "create policy notes_read on public.notes for select to authenticated using (body <> ''); create policy i on public.notes for insert to authenticated with check (not exists (select 1 from public.notes n where n.user_id = notes.user_id));", OWN),
    # Views.
    Case("a view with its owner's rights", ("security-definer-view", "public.all_notes"),
         "create view public.all_notes as select id, body from public.notes;",
         "create view public.all_notes with (security_invoker = on) as select id, body from public.notes;", OWN + OWN_READ),
    Case("a view behind an honest view", ("security-definer-view", "private.all_notes"),
         "grant select on private.all_notes to authenticated; create view public.shown with (security_invoker = true) as select id from private.all_notes;",
         "grant select on private.all_notes to service_role; create view public.shown with (security_invoker = true) as select id from private.all_notes;",
         OWN + OWN_READ + "create schema private; create view private.all_notes as select id, body from public.notes;"),
    Case("a view of a schema out of the API", ("security-definer-view", "public.balances"),
         "create view public.balances as select id, amount from private.ledger;",
         "create view public.balances as select id, amount from private.ledger; revoke all on public.balances from anon, authenticated;",
         "create schema private; create table private.ledger (id bigint primary key, amount numeric);"),
    Case("a filter without a barrier", ("view-without-security-barrier", "public.mine"),
         "create view public.mine as select id, body from public.notes where user_id = auth.uid();",
         "create view public.mine with (security_invoker = true) as select id, body from public.notes where user_id = auth.uid();", OWN + OWN_READ,
         also=frozenset({("security-definer-view", "public.mine")})),
    Case("auth.users in a view", ("auth-users-exposed", "public.people"),
         "create view public.people as select id, email from auth.users;",
         "create view public.people with (security_invoker = true) as select id, email from auth.users;",
         also=frozenset({("security-definer-view", "public.people")})),
    Case("auth.users in an honest view, unprotected", ("auth-users-exposed", "public.people"),
         "alter table auth.users disable row level security;", "",
         "create view public.people with (security_invoker = true) as select id, email from auth.users;"),
    Case("auth.users in a materialised view", ("auth-users-exposed", "public.sign_ups"),
         "", "revoke all on public.sign_ups from anon, authenticated;",
         "create materialized view public.sign_ups as select date_trunc('day', created_at) as day, email from auth.users;",
         also=frozenset({("materialized-view-in-api", "public.sign_ups")})),
    Case("auth.users by a function", ("auth-users-exposed", "public.find_user(mail text)"),
         "create function public.find_user(mail text) returns table (id uuid, email text) language sql stable security definer set search_path = '' as $$ select u.id, u.email from auth.users u where u.email = mail $$;",
         "create function public.find_user(mail text) returns table (id uuid, email text) language sql stable security definer set search_path = '' as $$ select u.id, u.email from auth.users u where u.email = mail $$; revoke execute on function public.find_user(text) from public, anon, authenticated;",
         also=frozenset({("anon-security-definer-function-executable", "public.find_user(mail text)")})),
    Case("a materialised view", ("materialized-view-in-api", "public.totals"),
         "", "revoke select on public.totals from anon, authenticated; grant select on public.totals to service_role;",
         OWN + OWN_READ + "create materialized view public.totals as select user_id, count(*) as notes from public.notes group by 1;"),
    Case("a foreign table", ("foreign-table-in-api", "public.crm"),
         "create foreign table public.crm (id bigint, name text) server crm;",
         "create schema private; create foreign table private.crm (id bigint, name text) server crm;",
         "create extension postgres_fdw schema extensions; create server crm foreign data wrapper postgres_fdw options (host '127.0.0.1');"),
    # Secrets.
    Case("a key that everybody reads", ("sensitive-columns-exposed", "public.integrations"),
         "", "revoke select on public.integrations from anon, authenticated; grant select (id, name) on public.integrations to authenticated;",
         """create table public.integrations (id bigint primary key, name text, api_key text);
         alter table public.integrations enable row level security;
         create policy r on public.integrations for select to authenticated using (true);"""),
    Case("words that are no secrets", ("sensitive-columns-exposed", "public.usage"),
         'alter table public.usage add column "accessToken" text;',
         """alter table public.usage add column token_count bigint, add column tokens_used bigint, add column password_changed_at timestamptz,
         add column secretary_name text, add column has_password boolean, add column public_key text, add column token_id uuid;""",
         """create table public.usage (id bigint primary key); alter table public.usage enable row level security;
         create policy r on public.usage for select to anon, authenticated using (true);"""),
    Case("a token to reset a password", ("sensitive-columns-exposed", "public.resets"),
         "alter table public.resets add column password_reset_token text;", "alter table public.resets add column password_reset_required boolean, add column reset_token_expires_at text;",
         """create table public.resets (id bigint primary key); alter table public.resets enable row level security;
         create policy r on public.resets for select to authenticated using (true);"""),
    Case("a view of nothing", ("security-definer-view", "public.version"),
         "create view public.version as select 1 as number;", "create view public.version with (security_invoker = true) as select 1 as number;"),
    Case("a password in a view", ("sensitive-columns-exposed", "public.accounts"),
         "create view public.accounts as select id, password_hash from private.accounts;",
         "create view public.accounts with (security_invoker = true) as select id, password_hash from private.accounts;",
         "create schema private; create table private.accounts (id bigint primary key, password_hash text);",
         also=frozenset({("security-definer-view", "public.accounts")})),
    # Functions.
    Case("a function that anybody may call", ("anon-security-definer-function-executable", "public.close_account(account uuid)"),
         "", "revoke execute on function public.close_account(uuid) from public, anon, authenticated;",
         OWN + OWN_READ + "create function public.close_account(account uuid) returns void language plpgsql security definer set search_path = '' as $$ begin delete from public.notes where user_id = account; end $$;",
         also=frozenset({("authenticated-security-definer-function-executable", "public.close_account(account uuid)")})),
    Case("a function that members may call", ("authenticated-security-definer-function-executable", "public.close_account(account uuid)"),
         "create function public.close_account(account uuid) returns void language plpgsql security definer set search_path = '' as $$ begin delete from public.notes where user_id = account; end $$; revoke execute on function public.close_account from public, anon;",
         "create function public.close_account(account uuid) returns void language plpgsql security invoker set search_path = '' as $$ begin delete from public.notes where user_id = account; end $$; revoke execute on function public.close_account from public, anon;",
         OWN + OWN_READ),
    Case("a trigger's function", ("anon-security-definer-function-executable", "public.count_up()"),
         "create function public.count_up() returns void language sql security definer set search_path = '' begin atomic; update public.counters set n = n + 1; end;",
         "create function public.count_up() returns trigger language plpgsql security definer set search_path = '' as $$ begin update public.counters set n = n + 1; return new; end $$;",
         "create table public.counters (id bigint primary key, n bigint); alter table public.counters enable row level security; revoke all on public.counters from anon, authenticated;",
         also=frozenset({("authenticated-security-definer-function-executable", "public.count_up()")})),
    Case("a free search_path", ("function-search-path-mutable", "private.team()"),
         "create function private.team() returns uuid language sql stable security definer as $$ select auth.uid() $$;",
         "create function private.team() returns uuid language sql stable security definer set search_path = '' as $$ select auth.uid() $$;",
         "create schema private;"),
    Case("a free search_path with the caller's rights", ("function-search-path-mutable", "public.slug(text)"),
         "create function public.slug(text) returns text language sql immutable as $$ select lower($1) $$;",
         "create function public.slug(text) returns text language sql immutable begin atomic; select lower($1); end;"),
    Case("a search_path where callers may create", ("function-search-path-mutable", "private.team()"),
         "grant create on schema scratch to authenticated;", "",
         """create schema private; create schema scratch; grant usage on schema scratch to authenticated;
         create function private.team() returns uuid language sql stable security definer set search_path = scratch, public as $$ select auth.uid() $$;""",
         also=frozenset({("schema-create-granted", "schema scratch")})),
    Case("requests on behalf of anybody", ("outbound-http-callable", "public.ping(url text)"),
         "create function public.ping(url text) returns void language plpgsql set search_path = '' as $$ begin perform net.http_get(url); end $$;",
         "create function public.ping(url text) returns void language plpgsql set search_path = '' as $$ begin /* not net.http_get(url) */ perform 1; end $$;"),
    Case("an extension that reaches out", ("outbound-http-callable", "extension dblink"),
         "create extension dblink schema public;",
         "create schema private; create extension dblink schema private;",
         also=frozenset({("extension-in-public", "extension dblink")})),
    # Roles, grants, schemas.
    Case("anon logs in", ("api-role-privileged", "role anon"), "alter role anon login;", "create role app login in role authenticated;"),
    Case("authenticated is bound by no policy", ("api-role-privileged", "role authenticated"), "alter role authenticated bypassrls;", "alter role service_role bypassrls;"),
    Case("anon is authenticated", ("api-role-privileged", "role anon"), "grant authenticated to anon;", "grant anon to authenticator;"),
    Case("anon reads everything", ("api-role-privileged", "role anon"), "grant pg_read_all_data to anon;", "grant pg_read_all_data to service_role;",
         also=frozenset({("internal-schema-reachable", "auth.users")})),
    Case("authenticated is an owner", ("api-role-privileged", "role authenticated"),
         "grant app_owner to authenticated;", "grant app_owner to service_role;",
         "create role app_owner nologin;" + OWN + OWN_READ + "alter table public.notes owner to app_owner;"),
    Case("authenticator inherits", ("authenticator-inherits", "role authenticator"), "alter role authenticator login inherit;", "alter role authenticator login noinherit;"),
    Case("anon creates in public", ("schema-create-granted", "schema public"), "grant create on schema public to anon;", "grant create on schema public to service_role;"),
    Case("an exposed schema that the settings do not name", ("exposed-schema-undeclared", "schema api"),
         "create schema api; alter role authenticator set pgrst.db_schemas = 'public, api';",
         "create schema api; alter role authenticator set pgrst.db_schemas = 'public';"),
    Case("a grant to everybody", ("table-granted-to-public", "public.notes"),
         "grant select on public.notes to public;", "grant select on public.notes to service_role;", OWN + OWN_READ),
    Case("truncate", ("api-role-may-truncate", "schema public"),
         "", "revoke truncate, references, trigger on public.notes from anon, authenticated;", OWN + OWN_READ),
    Case("a sequence set back", ("sequence-writable", "schema public"),
         "create sequence public.numbers;", "create sequence public.numbers; revoke update on sequence public.numbers from anon, authenticated;"),
    Case("tables to come, for everybody", ("default-privileges-open", "schema public"),
         "alter default privileges in schema public grant select on tables to public;",
         "alter default privileges in schema public revoke all on tables from anon, authenticated; alter default privileges in schema public revoke all on sequences from anon, authenticated;"),
    Case("tables to come of a private schema", ("default-privileges-open", "schema private"),
         "create schema private; alter default privileges in schema private grant select on tables to authenticated;",
         "create schema private; alter default privileges in schema private grant select on tables to service_role;"),
    Case("the vault", ("internal-schema-reachable", "vault.decrypted_secrets"),
         "grant usage on schema vault to authenticated; grant select on vault.decrypted_secrets to authenticated;",
         "grant usage on schema vault to service_role; grant select on vault.decrypted_secrets to service_role;",
         """create schema vault; create table vault.secrets (id uuid primary key, secret text);
         create view vault.decrypted_secrets as select id, secret as decrypted_secret from vault.secrets;"""),
    Case("auth.users to everybody", ("internal-schema-reachable", "auth.users"),
         "grant select (id, email) on auth.users to authenticated; alter table auth.users disable row level security;",
         "grant select (id, email) on auth.users to authenticated;"),
    Case("an extension in public", ("extension-in-public", "extension pg_trgm"),
         "create extension pg_trgm schema public;", "create extension pg_trgm schema extensions;"),
    Case("an old extension", ("extension-versions-outdated", "extension pg_trgm"),
         "create extension pg_trgm schema extensions version '1.5';", "create extension pg_trgm schema extensions;"),
    Case("names told by GraphQL", ("pg-graphql-anon-table-exposed", "role anon"),
         "", "revoke select on public.notes from anon;",
         OWN + OWN_READ + """set local allow_system_table_mods = on;
         insert into pg_extension (oid, extname, extowner, extnamespace, extrelocatable, extversion) select 99999, 'pg_graphql', extowner, 'extensions'::regnamespace, false, '1.5' from pg_extension where extname = 'plpgsql';"""),
    # Files, realtime, queues.
    Case("files of everybody", ("storage-policy-too-wide", "storage.objects"),
         "create policy files on storage.objects for delete to authenticated using (bucket_id = 'docs' and (select auth.role()) = 'authenticated');",
         "create policy files on storage.objects for delete to authenticated using (bucket_id = 'docs' and owner = (select auth.uid()));",
         "insert into storage.buckets (id, name) values ('docs', 'docs'); create index on storage.objects (owner);"),
    Case("private files read by anybody", ("storage-policy-too-wide", "storage.objects"),
         "create policy files on storage.objects for select to anon, authenticated using (true);",
         "create policy files on storage.objects for select to anon, authenticated using (bucket_id = 'docs' and name like 'public/%');",
         "insert into storage.buckets (id, name) values ('docs', 'docs');"),
    Case("a public bucket that is listed", ("public-bucket-allows-listing", "storage.objects"),
         "create policy avatars on storage.objects for select to anon, authenticated using (bucket_id = 'avatars');",
         "create policy avatars on storage.objects for select to authenticated using (bucket_id = 'avatars' and owner = (select auth.uid()));",
         "insert into storage.buckets (id, name, public) values ('avatars', 'avatars', true);"),
    Case("a public bucket", ("storage-bucket-public", "storage.buckets"),
         "insert into storage.buckets (id, name, public) values ('avatars', 'avatars', true);",
         "insert into storage.buckets (id, name, public) values ('avatars', 'avatars', false);"),
    Case("files without row-level security", ("storage-rls-disabled", "storage.objects"),
         "alter table storage.objects disable row level security;", ""),
    Case("changes sent to anybody", ("realtime-publishes-unprotected", "private.prices"),
         "", "revoke select on private.prices from authenticated;",
         """create schema private; grant usage on schema private to authenticated;
         create table private.prices (id bigint primary key); grant select on private.prices to authenticated;
         create publication supabase_realtime for table private.prices;"""),
    Case("changes of every table", ("realtime-publishes-all-tables", "publication supabase_realtime"),
         "create publication supabase_realtime for all tables;", "create publication supabase_realtime for table public.notes;", OWN + OWN_READ),
    Case("a queue", ("insecure-queue-exposed-in-api", "pgmq.q_mails"),
         "", "alter table pgmq.q_mails enable row level security;",
         """create schema pgmq; grant usage on schema pgmq to authenticated;
         create table pgmq.q_mails (msg_id bigint primary key, message jsonb); grant select, delete on pgmq.q_mails to authenticated;"""),
    Case("people without a name", ("auth-allow-anonymous-sign-ins", "auth.users"),
         "create policy i on public.notes for insert to authenticated with check ((select auth.uid()) = user_id);",
         """create policy i on public.notes for insert to authenticated with check ((select auth.uid()) = user_id);
         create policy known on public.notes as restrictive for insert to authenticated with check ((select (auth.jwt() ->> 'is_anonymous')::boolean) is false);""",
         OWN + OWN_READ + """alter table auth.users add column is_anonymous boolean not null default false;
         create index on auth.users (is_anonymous); insert into auth.users (is_anonymous) values (true);"""),
    # Keys and types.
    Case("a key to what Auth will drop", ("fkey-to-auth-unique", "public.newsletter"),
         "create table public.newsletter (id bigint primary key, email text references auth.users (email));" "create index on public.newsletter (email);" "alter table public.newsletter enable row level security; revoke all on public.newsletter from anon, authenticated;",
         "create table public.newsletter (id bigint primary key, user_id uuid references auth.users (id));" "create index on public.newsletter (user_id);" "alter table public.newsletter enable row level security; revoke all on public.newsletter from anon, authenticated;"),
    Case("a key that tells who exists", ("foreign-key-guess", "public.guesses"),
         "", "revoke all on public.guesses from anon, authenticated;",
         "create table public.guesses (id bigint primary key, friend uuid, user_id uuid references auth.users (id), invited uuid references auth.users (id)); create index on public.guesses (user_id); create index on public.guesses (invited);",
         also=frozenset({("rls-disabled-in-public", "public.guesses")})),
    Case("a type that blocks upgrades", ("unsupported-reg-types", "private.jobs"),
         "create table private.jobs (id bigint primary key, handler regprocedure);",
         "create table private.jobs (id bigint primary key, kind regtype, source regclass, handler text);", "create schema private;"),
)  # fmt: skip

SPEED = (
    Case("auth.uid() for each row", ("auth-rls-initplan", "public.notes"),
         "create policy r on public.notes for select to authenticated using (auth.uid() = user_id);", OWN_READ, OWN),
    Case("a setting for each row", ("auth-rls-initplan", "public.notes"),
         "create policy r on public.notes for select to authenticated using (user_id::text = current_setting('app.user', true) and body <> 'auth.uid()');",
         "create policy r on public.notes for select to authenticated using (user_id = (select current_setting('app.user', true))::uuid and body <> 'auth.uid()');", OWN),
    Case("identity in a correlated sub-select", ("auth-rls-initplan", "public.documents"),
         "create policy r on public.documents for select to authenticated using (exists (select 1 from public.members m where m.team_id = documents.team_id and m.user_id = auth.uid()));",
         "create policy r on public.documents for select to authenticated using (exists (select 1 from public.members m where m.team_id = documents.team_id and m.user_id = (select auth.uid())));", TEAMS),
    Case("a helper for each row", ("policy-function-per-row", "public.notes"),
         "create policy r on public.notes for select to authenticated using (user_id = private.me('x'));",
         "create policy r on public.notes for select to authenticated using (user_id = (select private.me('x')) and private.ok(id));",
         """create schema private; grant usage on schema private to authenticated;
         create function private.me(text) returns uuid language sql stable security definer set search_path = '' as $$ select auth.uid() $$;
         create function private.ok(uuid) returns boolean language sql stable security definer set search_path = '' as $$ select $1 is not null $$;""" + OWN),
    Case("two policies for one thing", ("multiple-permissive-policies", "public.notes"),
         "create policy shared on public.notes for select to authenticated using (body like 'shared%');",
         "create policy not_hidden on public.notes as restrictive for select to authenticated using (body not like 'hidden%');", OWN + OWN_READ),
    Case("one for all and one for some", ("multiple-permissive-policies", "public.notes"),
         "create policy mine on public.notes to authenticated using (user_id = (select auth.uid())); create policy shown on public.notes for select to anon, authenticated using (body like 'shown%');",
         "create policy mine on public.notes to authenticated using (user_id = (select auth.uid())); create policy shown on public.notes for select to anon using (body like 'shown%');", OWN),
    Case("a column that policies look up", ("policy-column-unindexed", "public.orders"),
         "", "create index on public.orders (tenant, id);",
         """create table public.orders (id bigint primary key, tenant text not null); alter table public.orders enable row level security;
         create policy r on public.orders for select to authenticated using (tenant = (select auth.jwt() -> 'app_metadata' ->> 'tenant'));"""),
    Case("a foreign key without index", ("unindexed-foreign-keys", "public.tasks"),
         "create index on public.tasks (done, team_id);", "create index on public.tasks (team_id, done) where team_id is not null;",
         "create table public.teams (id bigint primary key); create table public.tasks (id bigint primary key, team_id bigint references public.teams (id), done boolean);"
         "revoke all on public.teams, public.tasks from anon, authenticated;"),
    Case("a key of two columns, indexed the other way round", ("unindexed-foreign-keys", "private.b"),
         "create table private.b (id bigint primary key, x bigint, y bigint, foreign key (x, y) references private.a (x, y)); create index on private.b (y);",
         "create table private.b (id bigint primary key, x bigint, y bigint, foreign key (x, y) references private.a (x, y)); create index on private.b (y, x, id);",
         "create schema private; create table private.a (x bigint, y bigint, primary key (x, y));"),
    Case("no primary key", ("no-primary-key", "private.log"),
         "create table private.log (at timestamptz not null, line text); create unique index log_at on private.log (at);",
         "create table private.log (at timestamptz not null, line text, primary key (at)) partition by range (at); create table private.log_1 partition of private.log default;", "create schema private;"),
    Case("two indexes alike", ("duplicate-index", "private.t"),
         "create index t_a on private.t (a) where a > 1; create index t_b on private.t (a) where a > 1;",
         "create index t_a on private.t (a) where a > 1; create index t_b on private.t (a) where a > 2; create index t_c on private.t (a desc); create index t_d on private.t (a) include (b); create index t_e on private.t using hash (a); create unique index t_f on private.t (b); create unique index t_g on private.t (b) nulls not distinct;",
         "create schema private; create table private.t (id bigint primary key, a bigint, b bigint);"),
    Case("an index beside its constraint", ("duplicate-index", "private.t"),
         "create index t_a on private.t (a);", "create index t_a on private.t (lower(a));",
         "create schema private; create table private.t (id bigint primary key, a text unique);"),
    Case("an invalid index", ("invalid-index", "private.t_a"),
         "set local allow_system_table_mods = on; update pg_index set indisvalid = false where indexrelid = 'private.t_a'::regclass;", "",
         "create schema private; create table private.t (id bigint primary key, a bigint); create index t_a on private.t (a);"),
    Case("nobody vacuums", ("autovacuum-disabled", "private.t"),
         "alter table private.t set (autovacuum_enabled = off);", "alter table private.t set (autovacuum_vacuum_scale_factor = 0.01);",
         "create schema private; create table private.t (id bigint primary key);"),
)  # fmt: skip
