-- The newest events of a space or a target, without sorting all of them.
DROP INDEX events_space;
DROP INDEX events_target;
CREATE INDEX events_space ON events (space_guid, created_at);
CREATE INDEX events_target ON events (target_guid, created_at);
