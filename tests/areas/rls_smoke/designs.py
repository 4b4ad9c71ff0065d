"""Policy designs as people write them: sound SQL, rules written by hand, and one seeded bug each.

The rules know no policy: they are what the application's owner would say.
"""
# ruff: noqa: E501 - SQL

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Design:
    """A schema that is as its rules say, and a change that is not."""

    name: str
    sql: str
    rules: str
    bug: str
    finds: tuple[str, str]
    """(rule of the finding, object) that the bug must give."""


TENANTS = """
create table public.tenants (id uuid primary key default gen_random_uuid(), name text not null);
create table public.profiles (
  id uuid primary key references auth.users (id), tenant_id uuid not null references public.tenants (id),
  full_name text not null);
alter table public.tenants enable row level security;
alter table public.profiles enable row level security;
create function public.my_tenant() returns uuid language sql stable security definer set search_path = ''
  as $$ select tenant_id from public.profiles where id = (select auth.uid()) $$;
create policy tenants_read on public.tenants for select to authenticated using (id = (select public.my_tenant()));
create policy profiles_read on public.profiles for select to authenticated using (tenant_id = (select public.my_tenant()));
"""

TENANT_RULES = """
  public.tenants:
    may: {authenticated: {select: "id in (:tenants)"}, service_role: all}
  public.profiles:
    may: {authenticated: {select: "tenant_id in (:tenants)"}, service_role: all}
"""

DESIGNS = (
    Design(
        "owner",
        """
create table public.todos (id bigint generated always as identity primary key,
  user_id uuid not null default auth.uid() references auth.users (id), title text not null, done boolean not null default false);
alter table public.todos enable row level security;
create policy todos_own on public.todos for all to authenticated
  using ((select auth.uid()) = user_id) with check ((select auth.uid()) = user_id);
""",
        """
  public.todos:
    rows: {own: "user_id = :user"}
    may: {authenticated: {select: own, insert: own, update: own, delete: own}, service_role: all}
""",
        "alter policy todos_own on public.todos with check (true)",
        ("rls-more", "public.todos"),
    ),
    Design(
        "tenant",
        TENANTS
        + """
create table public.projects (id uuid primary key default gen_random_uuid(),
  tenant_id uuid not null references public.tenants (id), name text not null);
alter table public.projects enable row level security;
create policy projects_all on public.projects to authenticated
  using (tenant_id = (select public.my_tenant())) with check (tenant_id = (select public.my_tenant()));
""",
        TENANT_RULES
        + """
  public.projects:
    rows: {tenant: "tenant_id in (:tenants)"}
    may: {authenticated: {select: tenant, insert: tenant, update: tenant, delete: tenant}, service_role: all}
""",
        """alter policy projects_all on public.projects
           using (exists (select 1 from public.profiles p where p.id = (select auth.uid()) and tenant_id = tenant_id))""",
        ("rls-more", "public.projects"),
    ),
    Design(
        "team membership",
        """
create table public.teams (id bigint generated always as identity primary key, name text not null);
create table public.team_members (team_id bigint not null references public.teams (id),
  user_id uuid not null references auth.users (id), role text not null default 'member' check (role in ('admin', 'member')),
  primary key (team_id, user_id));
create table public.documents (id uuid primary key default gen_random_uuid(),
  team_id bigint not null references public.teams (id), body text);
alter table public.teams enable row level security;
alter table public.team_members enable row level security;
alter table public.documents enable row level security;
create policy members_self on public.team_members for select to authenticated using (user_id = (select auth.uid()));
create policy teams_read on public.teams for select to authenticated
  using (exists (select 1 from public.team_members m where m.team_id = teams.id and m.user_id = (select auth.uid())));
create policy documents_read on public.documents for select to authenticated
  using (exists (select 1 from public.team_members m where m.team_id = documents.team_id and m.user_id = (select auth.uid())));
create policy documents_delete on public.documents for delete to authenticated
  using (exists (select 1 from public.team_members m where m.team_id = documents.team_id and m.user_id = (select auth.uid()) and m.role = 'admin'));
""",
        """
  public.teams:
    may: {authenticated: {select: "id in (:tenants)"}, service_role: all}
  public.team_members:
    may: {authenticated: {select: "user_id = :user"}, service_role: all}
  public.documents:
    rows: {team: "team_id in (:tenants)"}
    may: {authenticated: {select: team}, admin: {select: team, delete: team}, service_role: all}
""",
        # The column of the inner table shadows the outer one.
        """alter policy documents_read on public.documents
           using (exists (select 1 from public.team_members m where m.team_id = team_id and m.user_id = (select auth.uid())))""",
        ("rls-more", "public.documents"),
    ),
    Design(
        "roles in claims",
        """
create table public.orders (id uuid primary key default gen_random_uuid(), tenant_id text not null,
  total numeric not null default 0);
alter table public.orders enable row level security;
create policy orders_read on public.orders for select to authenticated
  using (tenant_id = (select auth.jwt() -> 'app_metadata' ->> 'tenant_id'));
create policy orders_delete on public.orders for delete to authenticated
  using (tenant_id = (select auth.jwt() -> 'app_metadata' ->> 'tenant_id')
         and (select auth.jwt() -> 'app_metadata' ->> 'role') = 'admin');
""",
        """
  public.orders:
    rows: {tenant: "tenant_id in (:tenants)"}
    may: {authenticated: {select: tenant}, admin: {select: tenant, delete: tenant}, service_role: all}
""",
        """alter policy orders_delete on public.orders
           using ((select auth.jwt() -> 'app_metadata' ->> 'role') = 'admin')""",
        ("rls-more", "public.orders"),
    ),
    Design(
        "claims that users write themselves",
        """
create table public.reports (id uuid primary key default gen_random_uuid(), org_id text not null, body text);
alter table public.reports enable row level security;
create policy reports_read on public.reports for select to authenticated
  using (org_id = (select auth.jwt() -> 'app_metadata' ->> 'org_id'));
""",
        """
  public.reports:
    may: {authenticated: {select: "org_id in (:tenants)"}, service_role: all}
""",
        """alter policy reports_read on public.reports
           using (org_id = (select auth.jwt() -> 'user_metadata' ->> 'org_id'))""",
        ("rls-more", "public.reports"),
    ),
    Design(
        "soft delete",
        """
create table public.notes (id uuid primary key default gen_random_uuid(),
  owner_id uuid not null references auth.users (id), body text not null, deleted_at timestamptz);
alter table public.notes enable row level security;
create policy notes_read on public.notes for select to authenticated
  using (owner_id = (select auth.uid()) and deleted_at is null);
create policy notes_write on public.notes for update to authenticated
  using (owner_id = (select auth.uid())) with check (owner_id = (select auth.uid()));
""",
        """
  public.notes:
    rows: {own: "owner_id = :user", alive: deleted_at is null}
    may: {authenticated: {select: own and alive, update: own}, service_role: all}
""",
        "alter policy notes_read on public.notes using (owner_id = (select auth.uid()))",
        ("rls-more", "public.notes"),
    ),
    Design(
        "public read",
        """
create table public.posts (id uuid primary key default gen_random_uuid(),
  author_id uuid not null references auth.users (id), body text, published boolean not null default false);
alter table public.posts enable row level security;
create policy posts_public on public.posts for select to anon, authenticated using (published);
create policy posts_own on public.posts for all to authenticated
  using (author_id = (select auth.uid())) with check (author_id = (select auth.uid()));
""",
        """
  public.posts:
    rows: {own: "author_id = :user", published: published}
    may:
      anon: {select: published}
      authenticated: {select: own or published, insert: own, update: own, delete: own}
      service_role: all
""",
        "alter policy posts_public on public.posts using (true)",
        ("rls-more", "public.posts"),
    ),
    Design(
        "insert only",
        """
create table public.feedback (id bigint generated by default as identity primary key,
  user_id uuid references auth.users (id), message text not null);
alter table public.feedback enable row level security;
create policy feedback_send on public.feedback for insert to authenticated with check (user_id = (select auth.uid()));
""",
        """
  public.feedback:
    may: {authenticated: {insert: "user_id = :user"}, service_role: all}
""",
        "create policy feedback_read on public.feedback for select to authenticated using (true)",
        ("rls-more", "public.feedback"),
    ),
    Design(
        "security-definer helper",
        """
create table public.folders (id uuid primary key default gen_random_uuid(), owner_id uuid not null references auth.users (id), name text);
create table public.files (id uuid primary key default gen_random_uuid(), folder_id uuid not null references public.folders (id), name text);
alter table public.folders enable row level security;
alter table public.files enable row level security;
create function public.may_open(folder uuid) returns boolean language sql stable security definer set search_path = ''
  as $$ select exists (select 1 from public.folders f where f.id = folder and f.owner_id = (select auth.uid())) $$;
create policy folders_own on public.folders for all to authenticated using (owner_id = (select auth.uid()));
create policy files_own on public.files for all to authenticated using (public.may_open(folder_id));
""",
        """
  public.folders:
    rows: {own: "owner_id = :user"}
    may: {authenticated: {select: own, insert: own, update: own, delete: own}, service_role: all}
  public.files:
    rows: {own: "folder_id in (select id from public.folders where owner_id = :user)"}
    may: {authenticated: {select: own, insert: own, update: own, delete: own}, service_role: all}
""",
        """create or replace function public.may_open(folder uuid) returns boolean language sql stable security definer set search_path = ''
           as $$ select exists (select 1 from public.folders f where f.id = folder and f.owner_id is not null) $$""",
        ("rls-more", "public.files"),
    ),
    Design(
        "recursive membership",
        """
create table public.groups (id uuid primary key default gen_random_uuid(), name text);
create table public.group_members (group_id uuid not null references public.groups (id),
  user_id uuid not null references auth.users (id), primary key (group_id, user_id));
alter table public.groups enable row level security;
alter table public.group_members enable row level security;
create function public.my_groups() returns setof uuid language sql stable security definer set search_path = ''
  as $$ select group_id from public.group_members where user_id = (select auth.uid()) $$;
create policy groups_read on public.groups for select to authenticated using (id in (select public.my_groups()));
create policy members_read on public.group_members for select to authenticated using (group_id in (select public.my_groups()));
""",
        """
  public.groups:
    may: {authenticated: {select: "id in (:tenants)"}, service_role: all}
  public.group_members:
    may: {authenticated: {select: "group_id in (:tenants)"}, service_role: all}
""",
        """alter policy members_read on public.group_members
           using (group_id in (select m.group_id from public.group_members m where m.user_id = (select auth.uid())))""",
        ("rls-error", "public.group_members"),
    ),
    Design(
        "views",
        TENANTS
        + """
create table public.invoices (id uuid primary key default gen_random_uuid(),
  tenant_id uuid not null references public.tenants (id), amount int not null, paid boolean not null default false);
alter table public.invoices enable row level security;
create policy invoices_read on public.invoices for select to authenticated using (tenant_id = (select public.my_tenant()));
create view public.unpaid with (security_invoker = true) as select id, tenant_id, amount from public.invoices where not paid;
create view public.sums with (security_invoker = on) as select tenant_id, sum(amount) as amount from public.invoices group by tenant_id;
""",
        TENANT_RULES
        + """
  public.invoices:
    may: {authenticated: {select: "tenant_id in (:tenants)"}, service_role: all}
  public.unpaid:
    may: {authenticated: {select: "tenant_id in (:tenants)"}, service_role: all}
  public.sums:
    may: {authenticated: {select: "tenant_id in (:tenants)"}, service_role: {select: all}}
""",
        "alter view public.unpaid reset (security_invoker)",
        ("rls-more", "public.unpaid"),
    ),
    Design(
        "partitions",
        TENANTS
        + """
create table public.events (id uuid not null default gen_random_uuid(), tenant_id uuid not null references public.tenants (id),
  at date not null, what text, primary key (id, at)) partition by range (at);
create table public.events_2026_01 partition of public.events for values from ('2026-01-01') to ('2026-02-01');
create table public.events_2026_02 partition of public.events for values from ('2026-02-01') to ('2026-03-01');
alter table public.events enable row level security;
alter table public.events_2026_01 enable row level security;
alter table public.events_2026_02 enable row level security;
create policy events_read on public.events for select to authenticated using (tenant_id = (select public.my_tenant()));
""",
        TENANT_RULES
        + """
  public.events:
    may: {authenticated: {select: "tenant_id in (:tenants)"}, service_role: all}
  public.events_2026_01:
    may: {service_role: all}
  public.events_2026_02:
    may: {service_role: all}
""",
        "alter table public.events_2026_02 disable row level security",
        ("rls-more", "public.events_2026_02"),
    ),
    Design(
        "column grants",
        """
create table public.people (id uuid primary key references auth.users (id), handle text not null, phone text);
alter table public.people enable row level security;
revoke all on public.people from anon, authenticated;
grant select (id, handle) on public.people to authenticated;
grant update (handle) on public.people to authenticated;
create policy people_read on public.people for select to authenticated using (true);
create policy people_write on public.people for update to authenticated using (id = (select auth.uid()));
""",
        """
  public.people:
    rows: {own: "id = :user"}
    may: {authenticated: {select: all, update: own}, service_role: all}
    hidden: {authenticated: [phone]}
    readonly: {authenticated: [id, phone]}
""",
        "grant select (phone) on public.people to authenticated",
        ("rls-column", "public.people.phone"),
    ),
    Design(
        "sharing",
        """
create table public.boards (id uuid primary key default gen_random_uuid(), owner_id uuid not null references auth.users (id), title text);
create table public.board_shares (board_id uuid not null references public.boards (id), user_id uuid not null references auth.users (id),
  role text not null check (role in ('viewer', 'editor')), primary key (board_id, user_id));
alter table public.boards enable row level security;
alter table public.board_shares enable row level security;
create policy shares_mine on public.board_shares for select to authenticated using (user_id = (select auth.uid()));
create policy boards_own on public.boards for all to authenticated using (owner_id = (select auth.uid()));
create policy boards_shared on public.boards for select to authenticated
  using (id in (select board_id from public.board_shares s where s.user_id = (select auth.uid())));
create policy boards_edit on public.boards for update to authenticated
  using (id in (select board_id from public.board_shares s where s.user_id = (select auth.uid()) and s.role = 'editor'));
""",
        """
  public.boards:
    rows:
      own: "owner_id = :user"
      shared: "id in (select board_id from public.board_shares where user_id = :user)"
      editing: "id in (select board_id from public.board_shares where user_id = :user and role = 'editor')"
    may: {authenticated: {select: own or shared, insert: own, update: own or editing, delete: own}, service_role: all}
  public.board_shares:
    may: {authenticated: {select: "user_id = :user"}, service_role: all}
""",
        """alter policy boards_edit on public.boards
           using (id in (select board_id from public.board_shares s where s.user_id = (select auth.uid())))""",
        ("rls-more", "public.boards"),
    ),
    Design(
        "restrictive",
        TENANTS
        + """
create table public.secrets (id uuid primary key default gen_random_uuid(), tenant_id uuid not null references public.tenants (id),
  owner_id uuid not null references auth.users (id), value text not null);
alter table public.secrets enable row level security;
create policy secrets_tenant on public.secrets as restrictive for all to authenticated using (tenant_id = (select public.my_tenant()));
create policy secrets_own on public.secrets for all to authenticated using (owner_id = (select auth.uid()));
""",
        TENANT_RULES
        + """
  public.secrets:
    rows: {mine: "owner_id = :user and tenant_id in (:tenants)"}
    may: {authenticated: {select: mine, insert: mine, update: mine, delete: mine}, service_role: all}
""",
        """drop policy secrets_tenant on public.secrets;
           create policy secrets_tenant on public.secrets for all to authenticated using (tenant_id = (select public.my_tenant()))""",
        ("rls-more", "public.secrets"),
    ),
    Design(
        "a member's own role",
        """
create table public.organizations (id uuid primary key default gen_random_uuid(), name text);
create table public.memberships (org_id uuid not null references public.organizations (id), user_id uuid not null references auth.users (id),
  role text not null default 'member' check (role in ('member', 'admin')), nickname text, primary key (org_id, user_id));
alter table public.organizations enable row level security;
alter table public.memberships enable row level security;
revoke update on public.memberships from anon, authenticated;
grant update (nickname) on public.memberships to authenticated;
create policy memberships_own on public.memberships for select to authenticated using (user_id = (select auth.uid()));
create policy memberships_name on public.memberships for update to authenticated using (user_id = (select auth.uid()));
""",
        """
  public.organizations:
    may: {service_role: all}
  public.memberships:
    rows: {own: "user_id = :user"}
    may: {authenticated: {select: own, update: own}, service_role: all}
    readonly: {authenticated: [org_id, user_id]}
""",
        "grant update (role) on public.memberships to authenticated",
        ("privilege-escalation", "public.memberships"),
    ),
)
