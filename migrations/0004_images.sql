-- What admins ask for, and what a bake has told of its image.
-- An image that waits is a wish: the row is there, its bake has not begun.
ALTER TABLE images ADD COLUMN waiting INTEGER NOT NULL DEFAULT 0;
ALTER TABLE images ADD COLUMN requested_by INTEGER REFERENCES users (id) ON DELETE SET NULL;
ALTER TABLE images ADD COLUMN step_since INTEGER;
-- Bytes on disk; none of images that were baked before this column was there.
ALTER TABLE images ADD COLUMN size INTEGER;
-- Asked for, then done: the row stays, since attempts name it, and is shown no more.
ALTER TABLE images ADD COLUMN delete_asked_at INTEGER;
ALTER TABLE images ADD COLUMN deleted_at INTEGER;
-- Why the cloud did not delete it.
ALTER TABLE images ADD COLUMN kept_because TEXT;
