CREATE TABLE attestations (
    id text PRIMARY KEY CHECK (length(id) <= 64),
    sha256 bytea NOT NULL CHECK (length(sha256) = 32),
    profile text NOT NULL CHECK (length(profile) <= 1024),
    state_digest bytea NOT NULL CHECK (length(state_digest) = 32),
    published timestamptz NOT NULL,
    end_time timestamptz NOT NULL,
    is_withheld_share boolean NOT NULL,
    audience text NOT NULL CHECK (audience IN ('public', 'restricted')),
    -- The signed bytes, never re-serialized.
    object bytea NOT NULL
);

CREATE INDEX attestations_newest ON attestations (sha256, profile, published DESC);
CREATE INDEX attestations_end_time ON attestations (end_time);

CREATE TABLE revocations (
    id text PRIMARY KEY CHECK (length(id) <= 2048),
    issuer text NOT NULL,
    scope text NOT NULL CHECK (scope IN ('attestation', 'state', 'profile', 'key')),
    subject text NOT NULL CHECK (length(subject) <= 2048),
    published timestamptz NOT NULL,
    received_at timestamptz NOT NULL,
    object bytea NOT NULL
);

CREATE INDEX revocations_subject ON revocations (subject);
CREATE INDEX revocations_published ON revocations (published);
