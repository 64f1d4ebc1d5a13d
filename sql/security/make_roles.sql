create or replace function eventstore.make_roles()
returns boolean
language plpgsql
as $$
declare
    v_role text;
begin
    foreach v_role in array array['foldbook_engine', 'foldbook_auditor'] loop
        -- Roles belong to the whole cluster. The migration of another database may have been quicker, and the server tells
        -- this session a moment after its commit: until then there seems to be no such role, and yet it cannot be made.
        for v_attempt in 1..1000 loop
            exit when to_regrole(v_role) is not null;
            begin
                execute format('create role %I', v_role);
            exception when duplicate_object or unique_violation then
                perform pg_sleep(0.01);
            end;
        end loop;
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
