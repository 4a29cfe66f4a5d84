-- What carries this site's mark in the cloud and no row knows, as the last inventory saw it.
CREATE TABLE orphans (
    id           INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    kind         TEXT    NOT NULL CHECK (kind IN ('machine', 'image', 'address', 'volume', 'snapshot')),
    -- The cloud's id of it.
    cloud_id     TEXT    NOT NULL,
    name         TEXT,
    token        TEXT,
    -- The number of the golden image that it is, or belongs to.
    number       INTEGER,
    -- Since when it is there, where the cloud says so.
    created_at   INTEGER,
    machine_type TEXT,
    gib          INTEGER,
    state        TEXT    NOT NULL,
    holder       TEXT,
    -- The golden image that a machine stands on, by the cloud's id.
    image        TEXT,
    public_ip    TEXT,
    found_at     INTEGER NOT NULL,
    last_seen_at INTEGER NOT NULL,
    -- What an admin wants done about it; none where nobody asked, or the cloud refused.
    wish         TEXT CHECK (wish IN ('adopt', 'terminate')),
    wished_by    INTEGER REFERENCES users (id) ON DELETE SET NULL,
    -- Why the last wish was not carried out, or not yet.
    failure      TEXT
) STRICT;
CREATE UNIQUE INDEX orphans_cloud_id ON orphans (kind, cloud_id);

-- The last inventory: when somebody asked for one, when the cloud was asked, and why it could not say.
CREATE TABLE inventory (
    id        INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
    asked_at  INTEGER,
    looked_at INTEGER,
    error     TEXT
) STRICT;
INSERT INTO inventory (id) VALUES (1);
