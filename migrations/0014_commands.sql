-- A management command is asked of a machine as a log or a file is, and what it printed comes the same way. Only its
-- words are kept apart. A table's check cannot be changed: it is made anew, its numbers going on where they were.
CREATE TABLE fetches_new (
    id           INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    instance     INTEGER NOT NULL REFERENCES instances (id),
    kind         TEXT    NOT NULL CHECK (kind IN ('log', 'database', 'media', 'command')),
    state        TEXT    NOT NULL CHECK (state IN ('wanted', 'sent', 'ready', 'failed')),
    requested_by INTEGER REFERENCES users (id) ON DELETE SET NULL,
    created_at   INTEGER NOT NULL,
    sent_at      INTEGER,
    -- When bytes of it came last.
    heard_at     INTEGER,
    ended_at     INTEGER,
    -- Bytes that have come.
    size         INTEGER NOT NULL DEFAULT 0,
    format       TEXT CHECK (format IN ('text', 'sqlite3', 'tar.gz')),
    log          BLOB,
    error        TEXT
) STRICT;
INSERT INTO sqlite_sequence (name, seq) SELECT 'fetches_new', seq FROM sqlite_sequence WHERE name = 'fetches';
INSERT INTO fetches_new (id, instance, kind, state, requested_by, created_at, sent_at, heard_at, ended_at, size, format, log, error)
SELECT id, instance, kind, state, requested_by, created_at, sent_at, heard_at, ended_at, size, format, log, error
FROM fetches;
DROP TABLE fetches;
ALTER TABLE fetches_new RENAME TO fetches;
CREATE UNIQUE INDEX fetches_one_open ON fetches (instance, kind) WHERE state IN ('wanted', 'sent');
CREATE INDEX fetches_instance ON fetches (instance, kind);

CREATE TABLE commands (
    fetch     INTEGER NOT NULL PRIMARY KEY REFERENCES fetches (id) ON DELETE CASCADE,
    -- As it was typed.
    line      TEXT    NOT NULL,
    -- As it is run: a JSON array of texts.
    arguments TEXT    NOT NULL
) STRICT;
