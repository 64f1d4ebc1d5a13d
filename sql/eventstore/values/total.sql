create or replace aggregate eventstore.total(numeric) (
    sfunc = numeric_add,
    stype = numeric,
    combinefunc = numeric_add,
    parallel = safe
);
comment on aggregate eventstore.total(numeric) is
    'sum() for a few numbers: the state of sum() costs more than adding them. Null if there are none.';
