-- Two statements of a peer under one name, each truly signed: proof that needs nobody's word but its own.
CREATE TABLE equivocations (
    issuer text NOT NULL REFERENCES peers (actor) ON DELETE CASCADE,
    attestation_id text NOT NULL CHECK (length(attestation_id) <= 2048),
    first bytea NOT NULL,
    first_key_id text NOT NULL CHECK (length(first_key_id) <= 2048),
    first_multikey text NOT NULL,
    second bytea NOT NULL,
    second_key_id text NOT NULL CHECK (length(second_key_id) <= 2048),
    -- As they were admitted: the peer may publish others by the time that somebody looks.
    second_multikey text NOT NULL,
    found_at timestamptz NOT NULL,
    PRIMARY KEY (issuer, attestation_id)
);
