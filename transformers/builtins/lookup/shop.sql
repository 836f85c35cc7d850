-- What the golden cases look up. shop.db is made of it: sqlite3 shop.db < shop.sql
PRAGMA page_size = 1024;
CREATE TABLE customers (id INTEGER PRIMARY KEY, name TEXT, tier TEXT, discount REAL, photo BLOB, number INTEGER UNIQUE);
INSERT INTO customers VALUES (1, 'Ada', 'gold', 0.1, x'00ff', 9007199254740993);
INSERT INTO customers VALUES (2, 'Eve', NULL, 1e300, NULL, NULL);
CREATE TABLE places (code TEXT PRIMARY KEY, place TEXT);
INSERT INTO places VALUES ('DE:10115', 'Berlin');
CREATE TABLE twins (number INTEGER, name TEXT);
INSERT INTO twins VALUES (1, 'one'), (1, 'other'), (2, 'alone');
