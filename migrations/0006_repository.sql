-- The repository that a deployment's commit is of: the instance may have another by now.
ALTER TABLE deployments ADD COLUMN github_url TEXT;
