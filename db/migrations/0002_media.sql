CREATE TABLE media (
    sha256 bytea PRIMARY KEY CHECK (length(sha256) = 32),
    size bigint NOT NULL CHECK (size >= 0),
    media_type text,
    first_seen timestamptz NOT NULL,
    last_seen timestamptz NOT NULL
);

CREATE INDEX media_last_seen ON media (last_seen);

CREATE TABLE delivery_media (
    delivery_id bigint NOT NULL REFERENCES deliveries (id) ON DELETE CASCADE,
    ordinal integer NOT NULL CHECK (ordinal >= 0),
    url text NOT NULL,
    location text NOT NULL,
    sha256 bytea CHECK (length(sha256) = 32),
    verdict text,
    decision text NOT NULL,
    category text,
    failure text,
    PRIMARY KEY (delivery_id, ordinal)
);

CREATE INDEX delivery_media_sha256 ON delivery_media (sha256) WHERE sha256 IS NOT NULL;

-- Who looks at which bytes now; a row is a lease.
CREATE TABLE examinations (
    sha256 bytea PRIMARY KEY CHECK (length(sha256) = 32),
    worker text NOT NULL,
    lease_until timestamptz NOT NULL
);

CREATE TABLE verdicts (
    sha256 bytea NOT NULL CHECK (length(sha256) = 32),
    state_digest bytea NOT NULL CHECK (length(state_digest) = 32),
    verdict text NOT NULL CHECK (verdict IN ('match', 'no-match', 'unscannable')),
    reason text,
    report jsonb NOT NULL,
    scanned_at timestamptz NOT NULL,
    PRIMARY KEY (sha256, state_digest),
    CHECK (reason IS NULL OR verdict = 'unscannable')
);

CREATE INDEX verdicts_scanned_at ON verdicts (scanned_at);

-- Salted descriptions of the scanner, for authenticated peers.
CREATE TABLE states (
    state_digest bytea PRIMARY KEY CHECK (length(state_digest) = 32),
    document jsonb NOT NULL,
    created_at timestamptz NOT NULL
);
