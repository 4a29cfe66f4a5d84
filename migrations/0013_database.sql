-- The database that the owner chose for the project; none leaves it as the project says.
ALTER TABLE instances ADD COLUMN database TEXT CHECK (database IN ('sqlite', 'postgresql', 'mysql'));
