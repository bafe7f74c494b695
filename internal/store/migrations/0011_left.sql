-- When a version lost the last of its share; 0: it has one, never had one, or
-- was taken back. Pages of its own may still ask it for their files.
ALTER TABLE versions ADD COLUMN left_at BIGINT NOT NULL DEFAULT 0;
