-- Appendix A of PostgreSQL's manual: 40 the transaction stood in the way of another one, 53 the server has not enough of
-- something, 55006 and 55P03 somebody else holds it, 57 an operator intervened, 58 the system failed.
create or replace function eventstore.is_passing(p_sqlstate text)
returns boolean
language sql
immutable parallel safe
return left(p_sqlstate, 2) in ('40', '53', '57', '58') or p_sqlstate in ('55006', '55P03');
comment on function eventstore.is_passing is
    'Is it an error of a busy, exhausted or stopping server, which says nothing about the events that were folded?';
