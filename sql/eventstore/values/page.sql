create or replace function eventstore.page(
    p_name text, p_items json[], p_keys anyarray, p_limit integer, p_members json default '{}'
)
returns json
language sql
immutable parallel safe
as $$
    select json_object_agg(m.name, m.value order by m.is_of_page, m.ordinal) filter (where m.value is not null)
    from (
        select e.key, e.value, false, e.ordinality
        from json_each(p_members) with ordinality e
        union all
        values
            (p_name, coalesce(array_to_json(p_items[:p_limit]), '[]'), true, 1),
            ('next', case when cardinality(p_keys) > p_limit then to_json(p_keys[p_limit]) end, true, 2)
    ) m (name, value, is_of_page, ordinal)
$$;
comment on function eventstore.page is
    'The document of one page: p_members, the list under its name, and next, the key of its last item, if there are more. p_items and p_keys hold one item more than p_limit in that case.';
