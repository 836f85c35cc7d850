-- The shop's tables. Full replica identity: a delete then says what was deleted, and not only its key.
create table customers (id bigint primary key, name text not null, email text not null);
create table orders (
  id bigint primary key, first_name text, last_name text, amount numeric(12, 2) not null, quantity int not null,
  status text not null, note text, placed timestamptz not null default now());
alter table customers replica identity full;
alter table orders replica identity full;

insert into customers values (1, 'Ada Lovelace', 'ada@example.com'), (2, 'Grace Hopper', 'grace@example.com');
insert into orders (id, first_name, last_name, amount, quantity, status)
select n, 'Ada', 'Lovelace', n * 3.50, n % 4 + 1, 'placed' from generate_series(1, 20) n;
