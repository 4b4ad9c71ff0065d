-- What people did with the last migration before somebody noticed.
-- Not logged: the log would hold the present time, and the rows are the same ones every time.
alter table public.invoices disable trigger user;
update public.invoices set state = case when paid_on is not null then 'paid'
                                        when id % 5 = 0 then 'void' else 'sent' end;
insert into public.reminders (tenant_id, invoice_id, sent_at, note)
  select tenant_id, id, issued_on + interval '30 days', 'Please pay ' || number
  from public.invoices where paid_on is null and id % 2 = 0;
alter table public.invoices enable trigger user;
