-- Times are microseconds since 1970 UTC, 0 for none. JSON is text.
-- A reference with a foreign key is ownership; one without (droplet_guid of
-- an app, package_guid of a droplet …) may outlive what it names.

{{identity}}

CREATE TABLE settings (
	name  TEXT PRIMARY KEY,
	value TEXT NOT NULL
);

CREATE TABLE counters (
	name  TEXT PRIMARY KEY,
	value BIGINT NOT NULL
);

CREATE TABLE organizations (
	seq         {{seq}},
	guid        TEXT NOT NULL UNIQUE,
	created_at  BIGINT NOT NULL,
	updated_at  BIGINT NOT NULL,
	labels      TEXT NOT NULL,
	annotations TEXT NOT NULL,
	name        TEXT NOT NULL UNIQUE,
	suspended   BOOLEAN NOT NULL
);

CREATE TABLE spaces (
	seq               {{seq}},
	guid              TEXT NOT NULL UNIQUE,
	created_at        BIGINT NOT NULL,
	updated_at        BIGINT NOT NULL,
	labels            TEXT NOT NULL,
	annotations       TEXT NOT NULL,
	organization_guid TEXT NOT NULL REFERENCES organizations (guid),
	name              TEXT NOT NULL,
	UNIQUE (organization_guid, name)
);

CREATE TABLE users (
	seq           {{seq}},
	guid          TEXT NOT NULL UNIQUE,
	created_at    BIGINT NOT NULL,
	updated_at    BIGINT NOT NULL,
	labels        TEXT NOT NULL,
	annotations   TEXT NOT NULL,
	username      TEXT NOT NULL,
	origin        TEXT NOT NULL,
	password_hash TEXT NOT NULL,
	scopes        TEXT NOT NULL
);
CREATE UNIQUE INDEX users_name ON users (lower(username), origin);

CREATE TABLE refresh_tokens (
	hash       TEXT PRIMARY KEY,
	family     TEXT NOT NULL,
	user_guid  TEXT NOT NULL REFERENCES users (guid) ON DELETE CASCADE,
	client     TEXT NOT NULL,
	created_at BIGINT NOT NULL,
	expires_at BIGINT NOT NULL,
	used_at    BIGINT NOT NULL
);
CREATE INDEX refresh_tokens_family ON refresh_tokens (family);
CREATE INDEX refresh_tokens_user ON refresh_tokens (user_guid);
CREATE INDEX refresh_tokens_expires ON refresh_tokens (expires_at);

CREATE TABLE buildpacks (
	seq         {{seq}},
	guid        TEXT NOT NULL UNIQUE,
	created_at  BIGINT NOT NULL,
	updated_at  BIGINT NOT NULL,
	labels      TEXT NOT NULL,
	annotations TEXT NOT NULL,
	name        TEXT NOT NULL,
	position    BIGINT NOT NULL,
	enabled     BOOLEAN NOT NULL,
	locked      BOOLEAN NOT NULL,
	stack       TEXT NOT NULL,
	filename    TEXT NOT NULL,
	state       TEXT NOT NULL,
	digest      TEXT NOT NULL,
	built_in    BOOLEAN NOT NULL,
	UNIQUE (name, stack)
);

CREATE TABLE domains (
	seq               {{seq}},
	guid              TEXT NOT NULL UNIQUE,
	created_at        BIGINT NOT NULL,
	updated_at        BIGINT NOT NULL,
	labels            TEXT NOT NULL,
	annotations       TEXT NOT NULL,
	name              TEXT NOT NULL UNIQUE,
	internal          BOOLEAN NOT NULL,
	organization_guid TEXT REFERENCES organizations (guid)
);

CREATE TABLE apps (
	seq             {{seq}},
	guid            TEXT NOT NULL UNIQUE,
	created_at      BIGINT NOT NULL,
	updated_at      BIGINT NOT NULL,
	labels          TEXT NOT NULL,
	annotations     TEXT NOT NULL,
	space_guid      TEXT NOT NULL REFERENCES spaces (guid),
	name            TEXT NOT NULL,
	state           TEXT NOT NULL,
	lifecycle_type  TEXT NOT NULL,
	buildpacks      TEXT NOT NULL,
	stack           TEXT NOT NULL,
	env             TEXT NOT NULL,
	droplet_guid    TEXT NOT NULL,
	deployment_guid TEXT NOT NULL,
	features        TEXT NOT NULL,
	UNIQUE (space_guid, name)
);
CREATE INDEX apps_droplet ON apps (droplet_guid);

CREATE TABLE processes (
	seq            {{seq}},
	guid           TEXT NOT NULL UNIQUE,
	created_at     BIGINT NOT NULL,
	updated_at     BIGINT NOT NULL,
	labels         TEXT NOT NULL,
	annotations    TEXT NOT NULL,
	app_guid       TEXT NOT NULL REFERENCES apps (guid) ON DELETE CASCADE,
	type           TEXT NOT NULL,
	command        TEXT NOT NULL,
	instances      BIGINT NOT NULL,
	memory_mb      BIGINT NOT NULL,
	disk_mb        BIGINT NOT NULL,
	log_rate_limit BIGINT NOT NULL,
	health         TEXT NOT NULL,
	readiness      TEXT NOT NULL,
	UNIQUE (app_guid, type)
);

CREATE TABLE packages (
	seq         {{seq}},
	guid        TEXT NOT NULL UNIQUE,
	created_at  BIGINT NOT NULL,
	updated_at  BIGINT NOT NULL,
	labels      TEXT NOT NULL,
	annotations TEXT NOT NULL,
	app_guid    TEXT NOT NULL REFERENCES apps (guid) ON DELETE CASCADE,
	type        TEXT NOT NULL,
	state       TEXT NOT NULL,
	error       TEXT NOT NULL,
	digest      TEXT NOT NULL,
	size        BIGINT NOT NULL,
	git         TEXT NOT NULL
);
CREATE INDEX packages_app ON packages (app_guid);

CREATE TABLE builds (
	seq             {{seq}},
	guid            TEXT NOT NULL UNIQUE,
	created_at      BIGINT NOT NULL,
	updated_at      BIGINT NOT NULL,
	labels          TEXT NOT NULL,
	annotations     TEXT NOT NULL,
	app_guid        TEXT NOT NULL REFERENCES apps (guid) ON DELETE CASCADE,
	package_guid    TEXT NOT NULL,
	droplet_guid    TEXT NOT NULL,
	state           TEXT NOT NULL,
	error           TEXT NOT NULL,
	lifecycle_type  TEXT NOT NULL,
	buildpacks      TEXT NOT NULL,
	stack           TEXT NOT NULL,
	memory_mb       BIGINT NOT NULL,
	disk_mb         BIGINT NOT NULL,
	created_by_guid TEXT NOT NULL,
	created_by_name TEXT NOT NULL,
	created_by_type TEXT NOT NULL
);
CREATE INDEX builds_app ON builds (app_guid);
CREATE INDEX builds_package ON builds (package_guid);
CREATE INDEX builds_state ON builds (state);

CREATE TABLE droplets (
	seq                {{seq}},
	guid               TEXT NOT NULL UNIQUE,
	created_at         BIGINT NOT NULL,
	updated_at         BIGINT NOT NULL,
	labels             TEXT NOT NULL,
	annotations        TEXT NOT NULL,
	app_guid           TEXT NOT NULL REFERENCES apps (guid) ON DELETE CASCADE,
	package_guid       TEXT NOT NULL,
	build_guid         TEXT NOT NULL,
	state              TEXT NOT NULL,
	error              TEXT NOT NULL,
	digest             TEXT NOT NULL,
	size               BIGINT NOT NULL,
	process_types      TEXT NOT NULL,
	droplet_buildpacks TEXT NOT NULL,
	sidecars           TEXT NOT NULL,
	droplet_stack      TEXT NOT NULL,
	lifecycle_type     TEXT NOT NULL,
	buildpacks         TEXT NOT NULL,
	stack              TEXT NOT NULL
);
CREATE INDEX droplets_app ON droplets (app_guid);
CREATE INDEX droplets_package ON droplets (package_guid);

CREATE TABLE revisions (
	seq          {{seq}},
	guid         TEXT NOT NULL UNIQUE,
	created_at   BIGINT NOT NULL,
	updated_at   BIGINT NOT NULL,
	labels       TEXT NOT NULL,
	annotations  TEXT NOT NULL,
	app_guid     TEXT NOT NULL REFERENCES apps (guid) ON DELETE CASCADE,
	version      BIGINT NOT NULL,
	droplet_guid TEXT NOT NULL,
	env          TEXT NOT NULL,
	processes    TEXT NOT NULL,
	services     TEXT NOT NULL,
	description  TEXT NOT NULL,
	deployable   BOOLEAN NOT NULL,
	UNIQUE (app_guid, version)
);

CREATE TABLE deployments (
	seq                   {{seq}},
	guid                  TEXT NOT NULL UNIQUE,
	created_at            BIGINT NOT NULL,
	updated_at            BIGINT NOT NULL,
	labels                TEXT NOT NULL,
	annotations           TEXT NOT NULL,
	app_guid              TEXT NOT NULL REFERENCES apps (guid) ON DELETE CASCADE,
	strategy              TEXT NOT NULL,
	status_value          TEXT NOT NULL,
	status_reason         TEXT NOT NULL,
	revision_guid         TEXT NOT NULL,
	revision_version      BIGINT NOT NULL,
	droplet_guid          TEXT NOT NULL,
	previous_droplet_guid TEXT NOT NULL,
	previous_guid         TEXT NOT NULL,
	max_in_flight         BIGINT NOT NULL,
	canary_steps          TEXT NOT NULL,
	canary_step           BIGINT NOT NULL,
	error                 TEXT NOT NULL,
	status_changed        BIGINT NOT NULL,
	last_healthy          BIGINT NOT NULL,
	created_by_guid       TEXT NOT NULL,
	created_by_name       TEXT NOT NULL,
	created_by_type       TEXT NOT NULL
);
CREATE INDEX deployments_app ON deployments (app_guid);
CREATE INDEX deployments_value ON deployments (status_value);

CREATE TABLE instances (
	seq             {{seq}},
	guid            TEXT NOT NULL UNIQUE,
	created_at      BIGINT NOT NULL,
	updated_at      BIGINT NOT NULL,
	app_guid        TEXT NOT NULL REFERENCES apps (guid) ON DELETE CASCADE,
	process_guid    TEXT NOT NULL REFERENCES processes (guid) ON DELETE CASCADE,
	process_type    TEXT NOT NULL,
	deployment_guid TEXT NOT NULL REFERENCES deployments (guid) ON DELETE CASCADE,
	position        BIGINT NOT NULL,
	state           TEXT NOT NULL,
	since           BIGINT NOT NULL,
	ready           BOOLEAN NOT NULL,
	host            TEXT NOT NULL,
	port            BIGINT NOT NULL,
	crashes         BIGINT NOT NULL,
	next_start      BIGINT NOT NULL,
	last_exit       TEXT NOT NULL,
	details         TEXT NOT NULL
);
-- One that is stopping may stand beside the one that takes its place.
CREATE UNIQUE INDEX instances_position ON instances (deployment_guid, process_guid, position)
	WHERE state <> 'STOPPING';
CREATE INDEX instances_app ON instances (app_guid);
CREATE INDEX instances_process ON instances (process_guid);

CREATE TABLE routes (
	seq         {{seq}},
	guid        TEXT NOT NULL UNIQUE,
	created_at  BIGINT NOT NULL,
	updated_at  BIGINT NOT NULL,
	labels      TEXT NOT NULL,
	annotations TEXT NOT NULL,
	space_guid  TEXT NOT NULL REFERENCES spaces (guid),
	domain_guid TEXT NOT NULL REFERENCES domains (guid),
	host        TEXT NOT NULL,
	path        TEXT NOT NULL,
	protocol    TEXT NOT NULL,
	options     TEXT NOT NULL,
	UNIQUE (domain_guid, host, path)
);
CREATE INDEX routes_space ON routes (space_guid);

CREATE TABLE destinations (
	seq          {{seq}},
	guid         TEXT NOT NULL UNIQUE,
	created_at   BIGINT NOT NULL,
	updated_at   BIGINT NOT NULL,
	labels       TEXT NOT NULL,
	annotations  TEXT NOT NULL,
	route_guid   TEXT NOT NULL REFERENCES routes (guid) ON DELETE CASCADE,
	app_guid     TEXT NOT NULL REFERENCES apps (guid) ON DELETE CASCADE,
	process_type TEXT NOT NULL,
	port         BIGINT NOT NULL,
	protocol     TEXT NOT NULL,
	weight       BIGINT,
	UNIQUE (route_guid, app_guid, process_type, port)
);
CREATE INDEX destinations_app ON destinations (app_guid);

CREATE TABLE service_instances (
	seq               {{seq}},
	guid              TEXT NOT NULL UNIQUE,
	created_at        BIGINT NOT NULL,
	updated_at        BIGINT NOT NULL,
	labels            TEXT NOT NULL,
	annotations       TEXT NOT NULL,
	space_guid        TEXT NOT NULL REFERENCES spaces (guid),
	name              TEXT NOT NULL,
	tags              TEXT NOT NULL,
	credentials       TEXT NOT NULL,
	syslog_drain_url  TEXT NOT NULL,
	route_service_url TEXT NOT NULL,
	UNIQUE (space_guid, name)
);

CREATE TABLE service_bindings (
	seq                   {{seq}},
	guid                  TEXT NOT NULL UNIQUE,
	created_at            BIGINT NOT NULL,
	updated_at            BIGINT NOT NULL,
	labels                TEXT NOT NULL,
	annotations           TEXT NOT NULL,
	app_guid              TEXT NOT NULL REFERENCES apps (guid) ON DELETE CASCADE,
	service_instance_guid TEXT NOT NULL REFERENCES service_instances (guid),
	name                  TEXT NOT NULL,
	UNIQUE (app_guid, service_instance_guid)
);
CREATE INDEX service_bindings_instance ON service_bindings (service_instance_guid);
CREATE UNIQUE INDEX service_bindings_name ON service_bindings (app_guid, name) WHERE name <> '';

CREATE TABLE events (
	seq         {{seq}},
	guid        TEXT NOT NULL UNIQUE,
	created_at  BIGINT NOT NULL,
	updated_at  BIGINT NOT NULL,
	labels      TEXT NOT NULL,
	annotations TEXT NOT NULL,
	type        TEXT NOT NULL,
	actor_guid  TEXT NOT NULL,
	actor_name  TEXT NOT NULL,
	actor_type  TEXT NOT NULL,
	target_guid TEXT NOT NULL,
	target_type TEXT NOT NULL,
	target_name TEXT NOT NULL,
	data        TEXT NOT NULL,
	space_guid  TEXT NOT NULL,
	org_guid    TEXT NOT NULL
);
CREATE INDEX events_created ON events (created_at);
CREATE INDEX events_target ON events (target_guid);
CREATE INDEX events_space ON events (space_guid);

CREATE TABLE jobs (
	seq        {{seq}},
	guid       TEXT NOT NULL UNIQUE,
	created_at BIGINT NOT NULL,
	updated_at BIGINT NOT NULL,
	operation  TEXT NOT NULL,
	state      TEXT NOT NULL,
	errors     TEXT NOT NULL,
	warnings   TEXT NOT NULL
);
CREATE INDEX jobs_state ON jobs (state);
