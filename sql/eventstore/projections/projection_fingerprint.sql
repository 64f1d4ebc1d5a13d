-- What a copy of a projection is made of: its file, every function and view that the file names, whatever those name, and
-- the upcasters of the event types that it folds. It is computed where the copy is made, from what the last migration
-- applied: so it names the code that is in the database, and not what a process has on disk.
create or replace function eventstore.projection_fingerprint(p_definition text)
returns text
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
    with recursive event_type as (
        select distinct t.found[1] as name
        from regexp_matches(
            regexp_replace(p_definition, '^-- Ignores:.*(' || chr(10) || '--   .*)*', '', 'n'),
            '[[:<:]][A-Z][A-Za-z0-9]*[[:>:]]',
            'g'
        ) as t (found)
    ),
    upcaster as (
        select
            'upcast.' || p.proname as object,
            pg_get_functiondef(p.oid) as definition
        from pg_proc p
        join event_type t on t.name = regexp_replace(p.proname, '_[0-9]+$', '')
        where p.pronamespace = to_regnamespace('upcast')
    ),
    used (object) as (
        select *
        from unnest('{eventstore.log,eventstore.projection_input}'::text[])
        union
        select replace(n.found[1], '"', '')
        from regexp_matches(p_definition, '[[:<:]][A-Za-z0-9_]+[.]"?[A-Za-z0-9_]+', 'g') as n (found)
        union
        select u.object
        from upcaster u
        union
        select unnest(c.needs)
        from used u
        join eventstore.code c on c.object = u.object
    ),
    part (object, hash) as (
        select c.object, c.sha256
        from used u
        join eventstore.code c on c.object = u.object
        union all
        -- An upcaster stays in the database when its file is gone.
        select u.object, encode(sha256(convert_to(u.definition, 'UTF8')), 'hex')
        from upcaster u
        where not exists (select from eventstore.code c where c.object = u.object)
    )
    select encode(
        sha256(convert_to(
            concat_ws(E'\n', p_definition, string_agg(p.object || ' ' || p.hash, E'\n' order by p.object collate "C")), 'UTF8'
        )),
        'hex'
    )
    from part p
$$;
comment on function eventstore.projection_fingerprint is
    'SHA-256 over a projection''s file and all code in the database that it depends on; another one: its tables must be rebuilt.';
