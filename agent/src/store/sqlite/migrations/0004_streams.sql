-- How far each stream has carried the logs to its receiver. Not sealed: whoever moves a place forward makes a gap in the numbers
-- that the receiver sees, and whoever moves it back makes duplicates. `clean` is 1 after a stop in order: then `sent` is exact.
CREATE TABLE stream (
    name         TEXT    NOT NULL PRIMARY KEY,
    clean        INTEGER NOT NULL CHECK (clean IN (0, 1)),
    behind_since TEXT
) STRICT, WITHOUT ROWID;

CREATE TABLE stream_place (
    stream TEXT    NOT NULL,
    log    BLOB    NOT NULL CHECK (length(log) = 16),
    safe   INTEGER NOT NULL CHECK (safe >= 0),
    sent   INTEGER NOT NULL CHECK (sent >= safe),
    PRIMARY KEY (stream, log)
) STRICT, WITHOUT ROWID;
