create or replace function eventstore.make_roles()
returns boolean
language plpgsql
as $$
declare
    v_role text;
begin
    foreach v_role in array array['foldbook_engine', 'foldbook_auditor'] loop
        if to_regrole(v_role) is null then
            begin
                execute format('create role %I', v_role);
            exception when duplicate_object or unique_violation then
                null; -- Roles belong to the whole cluster: the migration of another database was quicker.
            end;
        end if;
        if not pg_has_role(v_role, 'usage') then
            execute format('grant %I to %I', v_role, current_user);
        end if;
    end loop;
    return true;
exception when insufficient_privilege then
    return false;
end
$$;
comment on function eventstore.make_roles is
    'Creates the roles of the engine and of auditors if they do not exist, and makes the owner a member of both. False: the owner may not create roles.';
