-- Why a deployment was asked for; none on the rows from before this was kept.
ALTER TABLE deployments ADD COLUMN reason TEXT;

-- When the cloud gave the machine's id, for the times on the way to live.
ALTER TABLE attempts ADD COLUMN launched_at INTEGER;
