-- What an instance's owner gives its project: the values are sealed by a key that is not in the database.
CREATE TABLE variables (
    instance   INTEGER NOT NULL REFERENCES instances (id),
    name       TEXT    NOT NULL,
    -- None where it was removed and the machine still has it.
    sealed     BLOB,
    -- What the machine was given last; none where it has none.
    given      BLOB,
    -- Whether the value was made here, at random.
    made       INTEGER NOT NULL DEFAULT 0,
    changed_at INTEGER NOT NULL,
    PRIMARY KEY (instance, name),
    CHECK (sealed IS NOT NULL OR given IS NOT NULL)
) STRICT;

-- The superuser of the project that an owner asked for. Its password is kept, sealed, until it was shown once.
CREATE TABLE first_admins (
    instance   INTEGER NOT NULL PRIMARY KEY REFERENCES instances (id),
    username   TEXT    NOT NULL,
    sealed     BLOB,
    state      TEXT    NOT NULL CHECK (state IN ('wanted', 'created', 'exists', 'failed')),
    -- The deployment that was given it last: it is made once that one is live.
    deployment INTEGER REFERENCES deployments (id),
    shown_at   INTEGER
) STRICT;
