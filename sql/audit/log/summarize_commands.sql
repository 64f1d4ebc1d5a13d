-- A block range index finds commands by their commit. Without a new summary it reads all blocks since the last one.
create or replace function audit.summarize_commands()
returns void
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set lock_timeout = '1s'
as $$
begin
    if pg_is_in_recovery() then
        return; -- A replica has the index of its primary. Without a new summary its end is read again with each range.
    end if;
    perform brin_summarize_new_values('eventstore.commands_commit');
exception when lock_not_available then
    null; -- A vacuum is working on it.
end
$$;
comment on function audit.summarize_commands is
    'Brings the index of commands by commit up to date, so that a verification reads each of them once.';
