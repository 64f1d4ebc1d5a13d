create or replace function eventstore.projection_schema(p_copy text, p_projection text)
returns text
language sql
immutable parallel safe
return case p_copy when 'live' then 'read' else p_copy || '_' || p_projection end;
comment on function eventstore.projection_schema(text, text) is
    'The schema of a copy of a projection: read for the live one; a rebuild and a verification have their own. Copy input: the view that the live one reads.';
