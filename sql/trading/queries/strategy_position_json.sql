-- p_position is a row of read.strategy_positions: a record, because read tables are dropped and made again.
create or replace function trading.strategy_position_json(p_position record, p_last_price numeric)
returns json
language plpgsql
stable
as $$
begin
    return (
        select json_object_agg(m.key, m.value order by m.ordinal)
        from (
            select 'strategy_id', to_json(nullif(p_position.strategy_id, '')), 0
            union all
            select e.key, e.value, e.ordinality
            from json_each(trading.position_json(p_position, p_last_price)) with ordinality e
        ) m (key, value, ordinal)
    );
end
$$;
comment on function trading.strategy_position_json is
    'A strategy''s position as HTTP shows it; strategy_id is null for what no strategy ordered.';
