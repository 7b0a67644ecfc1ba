CREATE TABLE cases (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    opened_at timestamptz NOT NULL,
    category text NOT NULL,
    -- Kept when the delivery is purged, so no foreign key.
    delivery_id bigint,
    sha256 bytea CHECK (length(sha256) = 32),
    state text NOT NULL CHECK (state IN ('open', 'released', 'upheld', 'expired')),
    basis text NOT NULL,
    was_viewed boolean NOT NULL,
    ruled_by text,
    ruled_at timestamptz,
    note text NOT NULL,
    CONSTRAINT cases_delivery_media UNIQUE NULLS NOT DISTINCT (delivery_id, sha256),
    CHECK ((state = 'open') = (ruled_at IS NULL))
);

CREATE INDEX cases_state ON cases (state, id);

CREATE TABLE rulings (
    sha256 bytea PRIMARY KEY CHECK (length(sha256) = 32),
    ruling text NOT NULL CHECK (ruling IN ('allow', 'block')),
    ruled_by text NOT NULL,
    ruled_at timestamptz NOT NULL
);
