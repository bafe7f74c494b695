PRAGMA application_id = 2003134834;
PRAGMA foreign_keys = off;
BEGIN;
CREATE TABLE apps (
	seq             INTEGER PRIMARY KEY,
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
CREATE TABLE buildpacks (
	seq         INTEGER PRIMARY KEY,
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
CREATE TABLE builds (
	seq             INTEGER PRIMARY KEY,
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
CREATE TABLE counters (
	name  TEXT PRIMARY KEY,
	value BIGINT NOT NULL
);
CREATE TABLE deployments (
	seq                   INTEGER PRIMARY KEY,
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
CREATE TABLE destinations (
	seq          INTEGER PRIMARY KEY,
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
CREATE TABLE domains (
	seq               INTEGER PRIMARY KEY,
	guid              TEXT NOT NULL UNIQUE,
	created_at        BIGINT NOT NULL,
	updated_at        BIGINT NOT NULL,
	labels            TEXT NOT NULL,
	annotations       TEXT NOT NULL,
	name              TEXT NOT NULL UNIQUE,
	internal          BOOLEAN NOT NULL,
	organization_guid TEXT REFERENCES organizations (guid)
);
CREATE TABLE droplets (
	seq                INTEGER PRIMARY KEY,
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
CREATE TABLE events (
	seq         INTEGER PRIMARY KEY,
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
CREATE TABLE instances (
	seq             INTEGER PRIMARY KEY,
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
CREATE TABLE jobs (
	seq        INTEGER PRIMARY KEY,
	guid       TEXT NOT NULL UNIQUE,
	created_at BIGINT NOT NULL,
	updated_at BIGINT NOT NULL,
	operation  TEXT NOT NULL,
	state      TEXT NOT NULL,
	errors     TEXT NOT NULL,
	warnings   TEXT NOT NULL
);
CREATE TABLE organizations (
	seq         INTEGER PRIMARY KEY,
	guid        TEXT NOT NULL UNIQUE,
	created_at  BIGINT NOT NULL,
	updated_at  BIGINT NOT NULL,
	labels      TEXT NOT NULL,
	annotations TEXT NOT NULL,
	name        TEXT NOT NULL UNIQUE,
	suspended   BOOLEAN NOT NULL
);
CREATE TABLE packages (
	seq         INTEGER PRIMARY KEY,
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
CREATE TABLE processes (
	seq            INTEGER PRIMARY KEY,
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
CREATE TABLE refresh_tokens (
	hash       TEXT PRIMARY KEY,
	family     TEXT NOT NULL,
	user_guid  TEXT NOT NULL REFERENCES users (guid) ON DELETE CASCADE,
	client     TEXT NOT NULL,
	created_at BIGINT NOT NULL,
	expires_at BIGINT NOT NULL,
	used_at    BIGINT NOT NULL
);
CREATE TABLE revisions (
	seq          INTEGER PRIMARY KEY,
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
CREATE TABLE routes (
	seq         INTEGER PRIMARY KEY,
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
CREATE TABLE schema_version (
		id INTEGER PRIMARY KEY AUTOINCREMENT,
		version_id INTEGER NOT NULL,
		is_applied INTEGER NOT NULL,
		tstamp TIMESTAMP DEFAULT (datetime('now'))
	);
CREATE TABLE service_bindings (
	seq                   INTEGER PRIMARY KEY,
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
CREATE TABLE service_instances (
	seq               INTEGER PRIMARY KEY,
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
CREATE TABLE settings (
	name  TEXT PRIMARY KEY,
	value TEXT NOT NULL
);
CREATE TABLE spaces (
	seq               INTEGER PRIMARY KEY,
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
	seq           INTEGER PRIMARY KEY,
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
CREATE INDEX apps_droplet ON apps (droplet_guid);
CREATE INDEX builds_app ON builds (app_guid);
CREATE INDEX builds_package ON builds (package_guid);
CREATE INDEX builds_state ON builds (state);
CREATE INDEX deployments_app ON deployments (app_guid);
CREATE INDEX deployments_value ON deployments (status_value);
CREATE INDEX destinations_app ON destinations (app_guid);
CREATE INDEX droplets_app ON droplets (app_guid);
CREATE INDEX droplets_package ON droplets (package_guid);
CREATE INDEX events_created ON events (created_at);
CREATE INDEX events_space ON events (space_guid);
CREATE INDEX events_target ON events (target_guid);
CREATE INDEX instances_app ON instances (app_guid);
CREATE UNIQUE INDEX instances_position ON instances (deployment_guid, process_guid, position)
	WHERE state <> 'STOPPING';
CREATE INDEX instances_process ON instances (process_guid);
CREATE INDEX jobs_state ON jobs (state);
CREATE INDEX packages_app ON packages (app_guid);
CREATE INDEX refresh_tokens_expires ON refresh_tokens (expires_at);
CREATE INDEX refresh_tokens_family ON refresh_tokens (family);
CREATE INDEX refresh_tokens_user ON refresh_tokens (user_guid);
CREATE INDEX routes_space ON routes (space_guid);
CREATE INDEX service_bindings_instance ON service_bindings (service_instance_guid);
CREATE UNIQUE INDEX service_bindings_name ON service_bindings (app_guid, name) WHERE name <> '';
CREATE UNIQUE INDEX users_name ON users (lower(username), origin);
INSERT INTO apps (seq, guid, created_at, updated_at, labels, annotations, space_guid, name, state, lifecycle_type, buildpacks, stack, env, droplet_guid, deployment_guid, features) VALUES (1, '00000000-0000-4000-8000-000000000006', 1772366760123456, 1772388000123456, '{"env":"test","example.com/team.name":"a b"}', '{"note":"ü \"quoted\" ''text''"}', '00000000-0000-4000-8000-000000000002', 'shop', 'STARTED', 'buildpack', '["go","https://example.com/bp.git"]', 'cflinuxfs4', '{"A":"1","B":""}', '00000000-0000-4000-8000-000000000010', '00000000-0000-4000-8000-000000000012', '{"revisions":true,"ssh":false}');
INSERT INTO buildpacks (seq, guid, created_at, updated_at, labels, annotations, name, position, enabled, locked, stack, filename, state, digest, built_in) VALUES (1, '00000000-0000-4000-8000-000000000005', 1772366700123456, 1772384400123456, '{"env":"test","example.com/team.name":"a b"}', '{"note":"ü \"quoted\" ''text''"}', 'mine', 3, 1, 1, 'cflinuxfs4', 'mine.zip', 'READY', 'd-buildpack', 1);
INSERT INTO builds (seq, guid, created_at, updated_at, labels, annotations, app_guid, package_guid, droplet_guid, state, error, lifecycle_type, buildpacks, stack, memory_mb, disk_mb, created_by_guid, created_by_name, created_by_type) VALUES (1, '00000000-0000-4000-8000-000000000009', 1772366940123456, 1772398800123456, '{"env":"test","example.com/team.name":"a b"}', '{"note":"ü \"quoted\" ''text''"}', '00000000-0000-4000-8000-000000000006', '00000000-0000-4000-8000-000000000008', '00000000-0000-4000-8000-000000000010', 'STAGED', 'StagingError - none', 'buildpack', '["go","https://example.com/bp.git"]', 'cflinuxfs4', 1, 2, 'u', 'admin', 'user');
INSERT INTO deployments (seq, guid, created_at, updated_at, labels, annotations, app_guid, strategy, status_value, status_reason, revision_guid, revision_version, droplet_guid, previous_droplet_guid, previous_guid, max_in_flight, canary_steps, canary_step, error, status_changed, last_healthy, created_by_guid, created_by_name, created_by_type) VALUES (1, '00000000-0000-4000-8000-000000000012', 1772367120123456, 1772409600123456, '{"env":"test","example.com/team.name":"a b"}', '{"note":"ü \"quoted\" ''text''"}', '00000000-0000-4000-8000-000000000006', 'canary', 'ACTIVE', 'PAUSED', '00000000-0000-4000-8000-000000000011', 4, '00000000-0000-4000-8000-000000000010', 'pd', 'p', 2, '[20,60]', 1, 'none', 1772366400123456, 1772366401123456, 'u', 'admin', 'user');
INSERT INTO destinations (seq, guid, created_at, updated_at, labels, annotations, route_guid, app_guid, process_type, port, protocol, weight) VALUES (1, '00000000-0000-4000-8000-000000000015', 1772367240123456, 1772416800123456, '{"env":"test","example.com/team.name":"a b"}', '{"note":"ü \"quoted\" ''text''"}', '00000000-0000-4000-8000-000000000014', '00000000-0000-4000-8000-000000000006', 'web', 8080, 'http1', 0);
INSERT INTO destinations (seq, guid, created_at, updated_at, labels, annotations, route_guid, app_guid, process_type, port, protocol, weight) VALUES (2, '00000000-0000-4000-8000-000000000016', 1772367300123456, 1772420400123456, '{"env":"test","example.com/team.name":"a b"}', '{"note":"ü \"quoted\" ''text''"}', '00000000-0000-4000-8000-000000000014', '00000000-0000-4000-8000-000000000006', 'web', 9090, 'http2', NULL);
INSERT INTO domains (seq, guid, created_at, updated_at, labels, annotations, name, internal, organization_guid) VALUES (1, '00000000-0000-4000-8000-000000000003', 1772366580123456, 1772377200123456, '{"env":"test","example.com/team.name":"a b"}', '{"note":"ü \"quoted\" ''text''"}', 'example.com', 1, '00000000-0000-4000-8000-000000000001');
INSERT INTO droplets (seq, guid, created_at, updated_at, labels, annotations, app_guid, package_guid, build_guid, state, error, digest, size, process_types, droplet_buildpacks, sidecars, droplet_stack, lifecycle_type, buildpacks, stack) VALUES (1, '00000000-0000-4000-8000-000000000010', 1772367000123456, 1772402400123456, '{"env":"test","example.com/team.name":"a b"}', '{"note":"ü \"quoted\" ''text''"}', '00000000-0000-4000-8000-000000000006', '00000000-0000-4000-8000-000000000008', '00000000-0000-4000-8000-000000000009', 'STAGED', 'none', 'd-droplet', 5, '{"web":"./shop","worker":"./work"}', '[{"Name":"go","DetectOutput":"Go","Version":"1","BuildpackName":"go"}]', '[{"Name":"s","Command":"c","ProcessTypes":["web"],"MemoryMB":3}]', 'cflinuxfs4', 'buildpack', '["go","https://example.com/bp.git"]', 'cflinuxfs4');
INSERT INTO events (seq, guid, created_at, updated_at, labels, annotations, type, actor_guid, actor_name, actor_type, target_guid, target_type, target_name, data, space_guid, org_guid) VALUES (1, '00000000-0000-4000-8000-000000000019', 1772367480123456, 1772431200123456, '{"env":"test","example.com/team.name":"a b"}', '{"note":"ü \"quoted\" ''text''"}', 'audit.app.create', 'u', 'admin', 'user', '00000000-0000-4000-8000-000000000006', 'app', 'shop', '{"index":1,"request":{"name":"shop"}}', '00000000-0000-4000-8000-000000000002', '00000000-0000-4000-8000-000000000001');
INSERT INTO instances (seq, guid, created_at, updated_at, app_guid, process_guid, process_type, deployment_guid, position, state, since, ready, host, port, crashes, next_start, last_exit, details) VALUES (1, '00000000-0000-4000-8000-000000000013', 1795258336700975, 1795258336700975, '00000000-0000-4000-8000-000000000006', '00000000-0000-4000-8000-000000000007', 'web', '00000000-0000-4000-8000-000000000012', 1, 'CRASHED', 1772366400123456, 1, '127.0.0.1', 61001, 3, 1772370000123456, '{"Code":-1,"Signal":"SIGKILL","OOM":true,"Reason":"out of memory (limit 256M)","At":"2026-03-01T12:00:00.123456Z"}', 'exited with status 3');
INSERT INTO jobs (seq, guid, created_at, updated_at, operation, state, errors, warnings) VALUES (1, '00000000-0000-4000-8000-000000000020', 1772366400123456, 1772366460123456, 'app.delete', 'FAILED', '[{"Kind":"invalid","Title":"UnprocessableEntity","Msg":"no","Hint":"yes"}]', '["careful"]');
INSERT INTO organizations (seq, guid, created_at, updated_at, labels, annotations, name, suspended) VALUES (1, '00000000-0000-4000-8000-000000000001', 1772366460123456, 1772370000123456, '{"env":"test","example.com/team.name":"a b"}', '{"note":"ü \"quoted\" ''text''"}', 'acme', 1);
INSERT INTO packages (seq, guid, created_at, updated_at, labels, annotations, app_guid, type, state, error, digest, size, git) VALUES (1, '00000000-0000-4000-8000-000000000008', 1772366880123456, 1772395200123456, '{"env":"test","example.com/team.name":"a b"}', '{"note":"ü \"quoted\" ''text''"}', '00000000-0000-4000-8000-000000000006', 'bits', 'READY', 'none', 'd-package', 1099511627776, '{"URL":"https://example.com/a.git","Ref":"main","Commit":"abc"}');
INSERT INTO processes (seq, guid, created_at, updated_at, labels, annotations, app_guid, type, command, instances, memory_mb, disk_mb, log_rate_limit, health, readiness) VALUES (1, '00000000-0000-4000-8000-000000000007', 1772366820123456, 1772391600123456, '{"env":"test","example.com/team.name":"a b"}', '{"note":"ü \"quoted\" ''text''"}', '00000000-0000-4000-8000-000000000006', 'web', './shop', 2, 64, 128, -1, '{"Type":"http","Endpoint":"/health","Timeout":7,"InvocationTimeout":2,"Interval":3}', '{"Type":"process","Endpoint":"","Timeout":0,"InvocationTimeout":0,"Interval":9}');
INSERT INTO refresh_tokens (hash, family, user_guid, client, created_at, expires_at, used_at) VALUES ('h', 'f', '00000000-0000-4000-8000-000000000004', 'cf', 1772366400123456, 1772370000123456, 1772366460123456);
INSERT INTO revisions (seq, guid, created_at, updated_at, labels, annotations, app_guid, version, droplet_guid, env, processes, services, description, deployable) VALUES (1, '00000000-0000-4000-8000-000000000011', 1772367060123456, 1772406000123456, '{"env":"test","example.com/team.name":"a b"}', '{"note":"ü \"quoted\" ''text''"}', '00000000-0000-4000-8000-000000000006', 4, '00000000-0000-4000-8000-000000000010', '{"A":"1"}', '[{"GUID":"00000000-0000-4000-8000-000000000007","CreatedAt":"2026-03-01T12:07:00.123456Z","UpdatedAt":"2026-03-01T19:00:00.123456Z","Metadata":{"Labels":{"env":"test","example.com/team.name":"a b"},"Annotations":{"note":"ü \"quoted\" ''text''"}},"AppGUID":"00000000-0000-4000-8000-000000000006","Type":"web","Command":"./shop","Instances":2,"MemoryMB":64,"DiskMB":128,"LogRateLimit":-1,"Health":{"Type":"http","Endpoint":"/health","Timeout":7,"InvocationTimeout":2,"Interval":3},"Readiness":{"Type":"process","Endpoint":"","Timeout":0,"InvocationTimeout":0,"Interval":9}}]', '[{"BindingGUID":"00000000-0000-4000-8000-000000000018","BindingName":"primary","InstanceGUID":"00000000-0000-4000-8000-000000000017","InstanceName":"db","Tags":["sql"],"Credentials":{"id":12345678901234567890,"uri":"postgres://u:p@h/d"},"SyslogDrainURL":"syslog://x"}]', 'Initial revision.', 1);
INSERT INTO routes (seq, guid, created_at, updated_at, labels, annotations, space_guid, domain_guid, host, path, protocol, options) VALUES (1, '00000000-0000-4000-8000-000000000014', 1772367180123456, 1772413200123456, '{"env":"test","example.com/team.name":"a b"}', '{"note":"ü \"quoted\" ''text''"}', '00000000-0000-4000-8000-000000000002', '00000000-0000-4000-8000-000000000003', 'shop', '/api', 'http', '{"loadbalancing":"round-robin"}');
INSERT INTO schema_version (id, version_id, is_applied, tstamp) VALUES (1, 0, 1, '2026-11-21 10:52:16');
INSERT INTO schema_version (id, version_id, is_applied, tstamp) VALUES (2, 1, 1, '2026-11-21 10:52:16');
INSERT INTO service_bindings (seq, guid, created_at, updated_at, labels, annotations, app_guid, service_instance_guid, name) VALUES (1, '00000000-0000-4000-8000-000000000018', 1772367420123456, 1772427600123456, '{"env":"test","example.com/team.name":"a b"}', '{"note":"ü \"quoted\" ''text''"}', '00000000-0000-4000-8000-000000000006', '00000000-0000-4000-8000-000000000017', 'primary');
INSERT INTO service_instances (seq, guid, created_at, updated_at, labels, annotations, space_guid, name, tags, credentials, syslog_drain_url, route_service_url) VALUES (1, '00000000-0000-4000-8000-000000000017', 1772367360123456, 1772424000123456, '{"env":"test","example.com/team.name":"a b"}', '{"note":"ü \"quoted\" ''text''"}', '00000000-0000-4000-8000-000000000002', 'db', '["sql"]', '{"id":12345678901234567890,"uri":"postgres://u:p@h/d"}', 'syslog://x', 'https://y');
INSERT INTO settings (name, value) VALUES ('color', 'blue');
INSERT INTO spaces (seq, guid, created_at, updated_at, labels, annotations, organization_guid, name) VALUES (1, '00000000-0000-4000-8000-000000000002', 1772366520123456, 1772373600123456, '{"env":"test","example.com/team.name":"a b"}', '{"note":"ü \"quoted\" ''text''"}', '00000000-0000-4000-8000-000000000001', 'dev');
INSERT INTO users (seq, guid, created_at, updated_at, labels, annotations, username, origin, password_hash, scopes) VALUES (1, '00000000-0000-4000-8000-000000000004', 1772366640123456, 1772380800123456, '{"env":"test","example.com/team.name":"a b"}', '{"note":"ü \"quoted\" ''text''"}', 'Ada', 'uaa', '$argon2id$x', '["cloud_controller.admin"]');
COMMIT;
