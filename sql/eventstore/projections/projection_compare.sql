create or replace function eventstore.projection_compare(p_projection text, p_limit integer)
returns table (rows_compared bigint, rows_different bigint, differences jsonb)
language plpgsql
as $$
declare
    v_fresh text := eventstore.projection_schema('verify', p_projection);
    v_table text;
    v_key text;
    v_compared bigint;
    v_different bigint;
    v_found jsonb;
begin
    rows_compared := 0;
    rows_different := 0;
    differences := '[]';
    for v_table in
        select unnest(p.tables)
        from eventstore.projections p
        where p.name = p_projection
    loop
        select string_agg(quote_ident(a.attname), ', ' order by array_position(i.indkey::smallint[], a.attnum))
        into v_key
        from pg_index i
        join pg_attribute a on a.attrelid = i.indrelid and a.attnum = any (i.indkey)
        where i.indrelid = format('read.%I', v_table)::regclass
            and i.indisprimary;

        execute format(
            $query$
            select
                count(*),
                count(*) filter (where row(live.*) is distinct from row(fresh.*))
            from read.%1$I live
            full join %2$I.%1$I fresh using (%3$s)
            $query$,
            v_table, v_fresh, v_key
        )
        into v_compared, v_different;

        if v_different > 0 then
            execute format(
                $query$
                select jsonb_agg(jsonb_build_object('table', %1$L::text, 'live', found.live, 'fresh', found.fresh))
                from (
                    select
                        to_jsonb(live) as live,
                        to_jsonb(fresh) as fresh
                    from read.%1$I live
                    full join %2$I.%1$I fresh using (%3$s)
                    where row(live.*) is distinct from row(fresh.*)
                    order by %3$s
                    limit $1
                ) found
                $query$,
                v_table, v_fresh, v_key
            )
            into v_found
            using p_limit - jsonb_array_length(differences);
            differences := differences || coalesce(v_found, '[]');
        end if;
        rows_compared := rows_compared + v_compared;
        rows_different := rows_different + v_different;
    end loop;
    return next;
end
$$;
comment on function eventstore.projection_compare(text, integer) is
    'Compares the live tables of a projection with those of its verification, row by row; the first p_limit differences.';
