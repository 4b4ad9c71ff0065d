-- Made-up rows; the same ones every time.
insert into auth.users (id, email, created_at)
  select ('00000000-0000-4000-8000-' || lpad(n::text, 12, '0'))::uuid,
         'person' || n || '@example.com', timestamptz '2026-01-05 09:00+00' + n * interval '1 hour'
  from generate_series(1, 400) n;
insert into public.tenants (name, plan, created_at)
  select 'Company ' || n, (array['free', 'pro', 'enterprise'])[1 + n % 3],
         timestamptz '2026-01-05 09:00+00' + n * interval '1 day'
  from generate_series(1, 40) n;
insert into public.profiles
  select ('00000000-0000-4000-8000-' || lpad(n::text, 12, '0'))::uuid, 1 + n % 40,
         'Person ' || n, n <= 40
  from generate_series(1, 400) n;
insert into public.projects (tenant_id, name, archived)
  select 1 + n % 40, 'Project ' || n, n % 7 = 0 from generate_series(1, 600) n;
alter table public.invoices disable trigger user;
insert into public.invoices (tenant_id, project_id, number, amount, currency, issued_on, paid_on)
  select 1 + n % 40, p.id, 'R-' || lpad(n::text, 6, '0'), (n * 7919 % 900000) / 100.0,
         (array['EUR', 'USD', 'GBP'])[1 + n % 3]::public.currency,
         date '2026-01-10' + n % 230,
         case when n % 3 > 0 then date '2026-01-24' + n % 230 end
  from generate_series(1, 24000) n
  join lateral (select 1 + n % 40 as tenant) t on true
  join lateral (select min(id) as id from public.projects where tenant_id = t.tenant) p on true;
alter table public.invoices enable trigger user;
insert into public.audit_log (tenant_id, what, at)
  select 1 + n % 40, 'SIGN IN ' || n, timestamptz '2026-02-01 08:00+00' + n * interval '7 min'
  from generate_series(1, 12000) n;
