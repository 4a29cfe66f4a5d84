-- Admins manage people: they disable them and give them links by which to set a password.

-- Since when they cannot sign in; their instances go on.
ALTER TABLE users ADD COLUMN disabled_at INTEGER;

-- When somebody, or one of their browsers, was last seen, to the hour.
ALTER TABLE users ADD COLUMN seen_at INTEGER;
ALTER TABLE sessions ADD COLUMN seen_at INTEGER;
UPDATE sessions SET seen_at = json_extract(data, '$.seen');
UPDATE users SET seen_at = (SELECT max(s.seen_at) FROM sessions s WHERE s.user_id = users.id);

-- The one link by which a person may set their password, by a digest of its secret.
CREATE TABLE password_links (
    user_id    INTEGER NOT NULL PRIMARY KEY REFERENCES users (id) ON DELETE CASCADE,
    digest     TEXT    NOT NULL,
    expires_at INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX password_links_digest ON password_links (digest);
