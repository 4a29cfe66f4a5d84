-- The cloud, the account and the region that the site's machines are in: without them a listing says nothing.
ALTER TABLE site ADD COLUMN whereabouts TEXT;
