-- What people asked of an instance's machine: the end of the project's log, its SQLite database, its
-- media files. A log is kept here; the files are beside the database, under the same number.
CREATE TABLE fetches (
    id           INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    instance     INTEGER NOT NULL REFERENCES instances (id),
    kind         TEXT    NOT NULL CHECK (kind IN ('log', 'database', 'media')),
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
CREATE UNIQUE INDEX fetches_one_open ON fetches (instance, kind) WHERE state IN ('wanted', 'sent');
CREATE INDEX fetches_instance ON fetches (instance, kind);
