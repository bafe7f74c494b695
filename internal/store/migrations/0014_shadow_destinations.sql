-- A destination may get copies of a share of the route's requests instead of
-- requests.
ALTER TABLE destinations ADD COLUMN mode TEXT NOT NULL DEFAULT 'live';
ALTER TABLE destinations ADD COLUMN shadow_percent BIGINT NOT NULL DEFAULT 0;
