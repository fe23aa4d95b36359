-- What the records of a log had said up to a place, so that those before it may go (log.prune). The text's SHA-256 stands in a
-- record of the log and in the sealed row of its retention: a text that was changed or taken away seals its log.
CREATE TABLE state_snapshot (
    log  BLOB    NOT NULL CHECK (length(log) = 16),
    size INTEGER NOT NULL CHECK (size > 0),
    text TEXT    NOT NULL,
    PRIMARY KEY (log, size)
) STRICT, WITHOUT ROWID;
