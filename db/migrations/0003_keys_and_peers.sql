CREATE TABLE remote_keys (
    -- As long as an index entry may safely be.
    key_id text PRIMARY KEY CHECK (length(key_id) <= 2048),
    actor text NOT NULL,
    pem text NOT NULL,
    algorithm text NOT NULL,
    fetched_at timestamptz NOT NULL,
    gone_at timestamptz
);

CREATE INDEX remote_keys_fetched_at ON remote_keys (fetched_at);

CREATE TABLE peers (
    actor text PRIMARY KEY CHECK (length(actor) <= 2048),
    domain text NOT NULL,
    tier text NOT NULL CHECK (tier IN ('unknown', 'probation', 'trusted', 'allied', 'quarantined')),
    key_id text,
    multikey text,
    added_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    note text NOT NULL
);
