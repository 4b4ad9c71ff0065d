-- Who changed which invoice.
create table public.audit_log (
  id bigint generated always as identity primary key,
  tenant_id bigint not null references public.tenants (id),
  actor uuid,
  what text not null,
  at timestamptz not null default now()
);
alter table public.audit_log enable row level security;
create policy audit_own on public.audit_log
  for select to authenticated using (tenant_id = (select public.my_tenant()));

create function public.log_invoice() returns trigger
  language plpgsql security definer set search_path = ''
  as $$
begin
  insert into public.audit_log (tenant_id, actor, what)
    values (new.tenant_id, auth.uid(), tg_op || ' invoice ' || new.number);
  return new;
end $$;
create trigger invoices_log after insert or update on public.invoices
  for each row execute function public.log_invoice();
