create or replace function eventstore.projection_subscription(p_copy text, p_projection text)
returns text
language sql
immutable parallel safe
return case p_copy when 'live' then p_projection else p_copy || '_' || p_projection end;
comment on function eventstore.projection_subscription(text, text) is
    'The subscription that holds the checkpoint of a copy of a projection; that of the live copy has the projection''s name.';
