-- What each company owes.
create view public.open_totals with (security_invoker = true) as
  select tenant_id, currency, sum(amount) as amount, count(*) as invoices
  from public.invoices where paid_on is null group by tenant_id, currency;
create index invoices_open on public.invoices (tenant_id) where paid_on is null;
