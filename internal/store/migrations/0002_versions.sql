-- One row per version of an app, the main one from the first deployment on.
-- The main version's deployment and number of instances are its app's.
CREATE TABLE versions (
	seq             {{seq}},
	guid            TEXT NOT NULL UNIQUE,
	created_at      BIGINT NOT NULL,
	updated_at      BIGINT NOT NULL,
	labels          TEXT NOT NULL,
	annotations     TEXT NOT NULL,
	app_guid        TEXT NOT NULL REFERENCES apps (guid) ON DELETE CASCADE,
	label           TEXT NOT NULL,
	deployment_guid TEXT NOT NULL,
	main            BOOLEAN NOT NULL,
	mode            TEXT NOT NULL,
	weight          BIGINT NOT NULL,
	shadow_percent  BIGINT NOT NULL,
	instances       BIGINT NOT NULL,
	state           TEXT NOT NULL,
	matches         TEXT NOT NULL,
	shadow          TEXT NOT NULL
);
CREATE INDEX versions_app ON versions (app_guid);
CREATE UNIQUE INDEX versions_main ON versions (app_guid) WHERE main;
CREATE UNIQUE INDEX versions_label ON versions (app_guid, label) WHERE label <> '';

INSERT INTO versions (guid, created_at, updated_at, labels, annotations, app_guid, label, deployment_guid, main, mode, weight, shadow_percent, instances, state, matches, shadow)
	SELECT deployment_guid, created_at, created_at, '{}', '{}', guid, '', '', TRUE, 'live', 100, 0, 0, 'STARTED', '[]', '{}'
	FROM apps WHERE deployment_guid <> '';

-- What an app was once decided to serve; a rollback goes back to one.
CREATE TABLE promotions (
	seq              {{seq}},
	guid             TEXT NOT NULL UNIQUE,
	created_at       BIGINT NOT NULL,
	updated_at       BIGINT NOT NULL,
	labels           TEXT NOT NULL,
	annotations      TEXT NOT NULL,
	app_guid         TEXT NOT NULL REFERENCES apps (guid) ON DELETE CASCADE,
	version_guid     TEXT NOT NULL,
	label            TEXT NOT NULL,
	revision_guid    TEXT NOT NULL,
	revision_version BIGINT NOT NULL,
	route_table      BIGINT NOT NULL,
	how              TEXT NOT NULL,
	rolled_back      BOOLEAN NOT NULL,
	by_guid          TEXT NOT NULL,
	by_name          TEXT NOT NULL,
	by_type          TEXT NOT NULL
);
CREATE INDEX promotions_app ON promotions (app_guid);

-- Changes of traffic, to be undone and to compare with.
CREATE TABLE changes (
	seq          {{seq}},
	guid         TEXT NOT NULL UNIQUE,
	created_at   BIGINT NOT NULL,
	updated_at   BIGINT NOT NULL,
	labels       TEXT NOT NULL,
	annotations  TEXT NOT NULL,
	space_guid   TEXT NOT NULL REFERENCES spaces (guid) ON DELETE CASCADE,
	apps         TEXT NOT NULL,
	verb         TEXT NOT NULL,
	description  TEXT NOT NULL,
	state_before TEXT NOT NULL,
	state_after  TEXT NOT NULL,
	route_table  BIGINT NOT NULL,
	undone       BOOLEAN NOT NULL,
	by_guid      TEXT NOT NULL,
	by_name      TEXT NOT NULL,
	by_type      TEXT NOT NULL
);
CREATE INDEX changes_space ON changes (space_guid);

ALTER TABLE deployments ADD COLUMN label TEXT NOT NULL DEFAULT '';
ALTER TABLE deployments ADD COLUMN how TEXT NOT NULL DEFAULT '';
ALTER TABLE apps ADD COLUMN split BIGINT NOT NULL DEFAULT 0;
ALTER TABLE apps ADD COLUMN traffic TEXT NOT NULL DEFAULT '{}';
