-- The floor: a table with the columns and the indexes of eventstore.events, and nothing that Foldbook promises.
create schema bench;

create table bench.events (like eventstore.events including indexes including defaults);

create sequence bench.position;
