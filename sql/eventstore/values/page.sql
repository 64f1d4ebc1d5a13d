create or replace function eventstore.page(
    p_name text, p_items json[], p_keys anyarray, p_limit integer, p_members json default null,
    p_searched_to anyelement default null
)
returns json
language plpgsql
immutable parallel safe
as $$
declare
    v_list json := coalesce(array_to_json(p_items[:p_limit]), '[]');
    v_next json := to_json(case when cardinality(p_keys) > p_limit then p_keys[p_limit] else p_searched_to end);
begin
    if p_members is not null then
        return (
            select json_object_agg(m.key, m.value order by m.is_of_page, m.ordinal) filter (where m.value is not null)
            from (
                select e.key, e.value, false, e.ordinality
                from json_each(p_members) with ordinality e
                union all
                values (p_name, v_list, true, 1), ('next', v_next, true, 2)
            ) m (key, value, is_of_page, ordinal)
        );
    elsif v_next is null then
        return json_build_object(p_name, v_list);
    else
        return json_build_object(p_name, v_list, 'next', v_next);
    end if;
end
$$;
comment on function eventstore.page is
    'The document of one page: p_members, the list under its name, and next. If there are more items, p_items and p_keys hold one more than p_limit, and next is the key of the page''s last item. p_searched_to: next, if the search ended there before the page was full.';
