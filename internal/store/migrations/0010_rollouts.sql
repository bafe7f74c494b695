-- The way of a version to all requests, and everything that led to it.
CREATE TABLE rollouts (
	seq          {{seq}},
	guid         TEXT NOT NULL UNIQUE,
	created_at   BIGINT NOT NULL,
	updated_at   BIGINT NOT NULL,
	labels       TEXT NOT NULL,
	annotations  TEXT NOT NULL,
	app_guid     TEXT NOT NULL REFERENCES apps (guid) ON DELETE CASCADE,
	number       BIGINT NOT NULL,
	from_guid    TEXT NOT NULL,
	from_label   TEXT NOT NULL,
	to_guid      TEXT NOT NULL,
	to_label     TEXT NOT NULL,
	droplet_guid TEXT NOT NULL,
	state        TEXT NOT NULL,
	step         BIGINT NOT NULL,
	reason       TEXT NOT NULL,
	route_table  BIGINT NOT NULL,
	split        BIGINT NOT NULL,
	since        BIGINT NOT NULL,
	plan         TEXT NOT NULL,
	progress     TEXT NOT NULL,
	judge        TEXT NOT NULL,
	by_guid      TEXT NOT NULL,
	by_name      TEXT NOT NULL,
	by_type      TEXT NOT NULL,
	UNIQUE (app_guid, number)
);

CREATE TABLE rollout_events (
	seq          {{seq}},
	guid         TEXT NOT NULL UNIQUE,
	created_at   BIGINT NOT NULL,
	updated_at   BIGINT NOT NULL,
	labels       TEXT NOT NULL,
	annotations  TEXT NOT NULL,
	rollout_guid TEXT NOT NULL REFERENCES rollouts (guid) ON DELETE CASCADE,
	state        TEXT NOT NULL,
	step         BIGINT NOT NULL,
	route_table  BIGINT NOT NULL,
	description  TEXT NOT NULL,
	data         TEXT NOT NULL,
	actor_guid   TEXT NOT NULL,
	actor_name   TEXT NOT NULL,
	actor_type   TEXT NOT NULL
);
CREATE INDEX rollout_events_rollout ON rollout_events (rollout_guid);

CREATE TABLE rollout_evidence (
	seq          {{seq}},
	guid         TEXT NOT NULL UNIQUE,
	created_at   BIGINT NOT NULL,
	updated_at   BIGINT NOT NULL,
	labels       TEXT NOT NULL,
	annotations  TEXT NOT NULL,
	rollout_guid TEXT NOT NULL REFERENCES rollouts (guid) ON DELETE CASCADE,
	data         TEXT NOT NULL
);
CREATE INDEX rollout_evidence_rollout ON rollout_evidence (rollout_guid);

CREATE TABLE freezes (
	seq          {{seq}},
	guid         TEXT NOT NULL UNIQUE,
	created_at   BIGINT NOT NULL,
	updated_at   BIGINT NOT NULL,
	labels       TEXT NOT NULL,
	annotations  TEXT NOT NULL,
	space_guid   TEXT NOT NULL,
	time_window  TEXT NOT NULL,
	reason       TEXT NOT NULL,
	by_guid      TEXT NOT NULL,
	by_name      TEXT NOT NULL,
	by_type      TEXT NOT NULL
);
