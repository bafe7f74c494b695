-- How many of a main version's web instances are enough while a rollout has
-- taken a part of its requests; 0: all of them.
ALTER TABLE versions ADD COLUMN reduced BIGINT NOT NULL DEFAULT 0;
