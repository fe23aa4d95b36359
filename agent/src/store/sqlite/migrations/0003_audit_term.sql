-- What the trail is searched by: a term is 64 bits of an HMAC over log, field and value, so that the index tells a reader of the
-- file nothing that the records do not. It is no part of the log: filled behind it, and what is found is checked there.
CREATE TABLE audit_term (
    term INTEGER NOT NULL,
    seq  INTEGER NOT NULL CHECK (seq >= 0),
    PRIMARY KEY (term, seq)
) STRICT, WITHOUT ROWID;

-- How many records of a log are in the index.
CREATE TABLE audit_indexed (
    log  BLOB    NOT NULL PRIMARY KEY CHECK (length(log) = 16),
    size INTEGER NOT NULL CHECK (size >= 0)
) STRICT, WITHOUT ROWID;
