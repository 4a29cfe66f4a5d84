-- What a cloud with a choice of machines needs to know and to remember.
-- The type of machine that the owner chose; none runs on the site's default.
ALTER TABLE instances ADD COLUMN machine_type TEXT;
-- Why an attempt was refused, where another place may have what this one lacked: 'elsewhere'.
ALTER TABLE attempts ADD COLUMN refusal TEXT;
-- The Elastic IP that was allocated for the attempt's machine, by the cloud's id of it.
ALTER TABLE attempts ADD COLUMN address TEXT;
