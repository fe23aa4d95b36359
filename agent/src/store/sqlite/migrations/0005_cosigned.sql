-- The newest checkpoint of each log that a witness has signed too, as a signed note. A copy: whoever changes it makes a signature
-- false or hides one, and the witness still knows.
CREATE TABLE cosigned (
    log     BLOB    NOT NULL CHECK (length(log) = 16),
    witness TEXT    NOT NULL,
    size    INTEGER NOT NULL CHECK (size >= 0),
    note    TEXT    NOT NULL,
    PRIMARY KEY (log, witness)
) STRICT, WITHOUT ROWID;
