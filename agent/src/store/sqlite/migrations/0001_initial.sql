-- Rows are sealed documents: the agent holds the verified state in memory and never queries by column, so a new kind of
-- row needs no new table. Ids, logs, versions and bodies are clear, names are encrypted, tags cover all of it.
CREATE TABLE meta (
    key   TEXT NOT NULL PRIMARY KEY,
    value BLOB NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE entity (
    kind    TEXT    NOT NULL,
    id      BLOB    NOT NULL,
    log     BLOB    NOT NULL CHECK (length(log) = 16),
    version INTEGER NOT NULL CHECK (version > 0),
    body    TEXT    NOT NULL,
    names   BLOB    NOT NULL,
    tag     BLOB    NOT NULL CHECK (length(tag) = 32),
    PRIMARY KEY (kind, id)
) STRICT, WITHOUT ROWID;

-- The end of each log. The primary key is the fence against two writers with the same head.
CREATE TABLE log_head (
    log      BLOB NOT NULL PRIMARY KEY CHECK (length(log) = 16),
    frontier BLOB NOT NULL,
    state    BLOB NOT NULL CHECK (length(state) = 32),
    last_ts  TEXT NOT NULL,
    tag      BLOB NOT NULL CHECK (length(tag) = 32)
) STRICT, WITHOUT ROWID;

-- Clustered by log and place: the last hundred of a vault, and its whole export, are read in one piece. The openings of a
-- record are encrypted together and stand in its row, so that an append touches one page; to erase one of them, the rest
-- is encrypted anew.
CREATE TABLE audit (
    log      BLOB    NOT NULL CHECK (length(log) = 16),
    seq      INTEGER NOT NULL CHECK (seq >= 0),
    record   TEXT,
    leaf     BLOB    NOT NULL CHECK (length(leaf) = 32),
    openings BLOB,
    PRIMARY KEY (log, seq)
) STRICT, WITHOUT ROWID;

CREATE TABLE checkpoint (
    log  BLOB    NOT NULL CHECK (length(log) = 16),
    size INTEGER NOT NULL CHECK (size >= 0),
    note TEXT    NOT NULL,
    PRIMARY KEY (log, size)
) STRICT, WITHOUT ROWID;
