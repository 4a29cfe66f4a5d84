-- Times are milliseconds since 1970-01-01 UTC. Migrations only ever add, so that an older binary
-- still starts on a newer schema.

-- The random id of this database: the tag by which the site knows its machines.
CREATE TABLE site (
    id   INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
    site TEXT    NOT NULL
) STRICT;

CREATE TABLE users (
    id            INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    username      TEXT    NOT NULL,
    password_hash TEXT    NOT NULL,
    role          TEXT    NOT NULL CHECK (role IN ('owner', 'admin')),
    created_at    INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX users_username ON users (username);

CREATE TABLE sessions (
    id         TEXT    NOT NULL PRIMARY KEY,
    user_id    INTEGER REFERENCES users (id) ON DELETE CASCADE,
    data       TEXT    NOT NULL,
    expires_at INTEGER NOT NULL
) STRICT;
CREATE INDEX sessions_user ON sessions (user_id);
CREATE INDEX sessions_expiry ON sessions (expires_at);

CREATE TABLE images (
    id          INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    state       TEXT    NOT NULL CHECK (state IN ('baking', 'good', 'failed')),
    cloud_ref   TEXT,
    script      TEXT    NOT NULL,
    base        TEXT    NOT NULL DEFAULT '',
    step        INTEGER,
    steps       INTEGER,
    step_name   TEXT,
    error       TEXT,
    created_at  INTEGER NOT NULL,
    finished_at INTEGER
) STRICT;

CREATE TABLE image_logs (
    image_id INTEGER NOT NULL REFERENCES images (id),
    start    INTEGER NOT NULL,
    bytes    BLOB    NOT NULL,
    PRIMARY KEY (image_id, start)
) STRICT, WITHOUT ROWID;

-- One server and the project on it. The web half writes what is wanted and bumps the generation;
-- only the reconciler writes the status, and notes the generation that it has brought about.
CREATE TABLE instances (
    id                  INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    name                TEXT    NOT NULL,
    owner_id            INTEGER NOT NULL REFERENCES users (id),
    github_url          TEXT    NOT NULL,
    project_name        TEXT    NOT NULL,
    branch              TEXT,
    description         TEXT    NOT NULL DEFAULT '',
    wanted              TEXT    NOT NULL CHECK (wanted IN ('present', 'stopped', 'absent')),
    generation          INTEGER NOT NULL DEFAULT 1,
    observed_generation INTEGER NOT NULL DEFAULT 0,
    status              TEXT    NOT NULL,
    status_since        INTEGER NOT NULL,
    instance_id         TEXT,
    public_ip           TEXT,
    image_id            INTEGER REFERENCES images (id),
    failure             TEXT,
    notice              TEXT,
    created_at          INTEGER NOT NULL,
    updated_at          INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX instances_name ON instances (name);
CREATE UNIQUE INDEX instances_instance_id ON instances (instance_id) WHERE instance_id IS NOT NULL;
CREATE INDEX instances_owner ON instances (owner_id, updated_at);

-- One try to get a machine. The complete request is saved before the call; the attempt is open
-- until the cloud gives an id or a definite refusal, and an instance has one open at most.
CREATE TABLE attempts (
    id          INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    instance    INTEGER NOT NULL REFERENCES instances (id),
    token       TEXT    NOT NULL,
    request     TEXT    NOT NULL,
    image_id    INTEGER NOT NULL REFERENCES images (id),
    state       TEXT    NOT NULL CHECK (state IN ('open', 'launched', 'refused', 'spent')),
    sent_at     INTEGER,
    instance_id TEXT,
    created_at  INTEGER NOT NULL,
    ended_at    INTEGER
) STRICT;
CREATE UNIQUE INDEX attempts_token ON attempts (token);
CREATE UNIQUE INDEX attempts_one_open ON attempts (instance) WHERE state IN ('open', 'launched');

CREATE TABLE deployments (
    id            INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    instance      INTEGER NOT NULL REFERENCES instances (id),
    number        INTEGER NOT NULL,
    plan          TEXT    NOT NULL,
    report        TEXT    NOT NULL,
    log_size      INTEGER NOT NULL DEFAULT 0,
    -- What was typed, so that a double click is told from a second wish.
    submission    TEXT    NOT NULL,
    requested_by  INTEGER REFERENCES users (id) ON DELETE SET NULL,
    created_at    INTEGER NOT NULL,
    begun_at      INTEGER,
    first_byte_at INTEGER,
    step_since    INTEGER,
    ended_at      INTEGER,
    outcome       TEXT CHECK (outcome IN ('live', 'failed', 'replaced')),
    failure       TEXT
) STRICT;
CREATE UNIQUE INDEX deployments_number ON deployments (instance, number);
CREATE UNIQUE INDEX deployments_one_queued ON deployments (instance) WHERE outcome IS NULL AND begun_at IS NULL;
CREATE UNIQUE INDEX deployments_one_running ON deployments (instance) WHERE outcome IS NULL AND begun_at IS NOT NULL;

CREATE TABLE deploy_logs (
    deployment INTEGER NOT NULL REFERENCES deployments (id),
    start      INTEGER NOT NULL,
    bytes      BLOB    NOT NULL,
    PRIMARY KEY (deployment, start)
) STRICT, WITHOUT ROWID;
