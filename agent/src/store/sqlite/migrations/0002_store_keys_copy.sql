-- The store keys once more, encrypted to the offline recovery recipients (an age v1 file): what a token sealed dies with the
-- token. One row for one set of recipients; `recipients` is their list in order, separated by spaces.
CREATE TABLE store_keys_copy (
    recipients TEXT NOT NULL PRIMARY KEY,
    copy       BLOB NOT NULL
) STRICT, WITHOUT ROWID;
