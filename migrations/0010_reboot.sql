-- A wish to reboot the machine, and when the cloud was asked for it; both go with the next status.
ALTER TABLE instances ADD COLUMN reboot_asked_at INTEGER;
ALTER TABLE instances ADD COLUMN reboot_sent_at INTEGER;
