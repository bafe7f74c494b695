-- The rollout that a change of traffic was a step of: undo takes all of them back.
ALTER TABLE changes ADD COLUMN rollout_guid TEXT NOT NULL DEFAULT '';
-- The app's settings when a version was made: what is otherwise by now was set
-- since.
ALTER TABLE versions ADD COLUMN made_beside TEXT NOT NULL DEFAULT '{}';
