drop trigger invoices_log on public.invoices;
drop function public.log_invoice();
drop table public.audit_log;
