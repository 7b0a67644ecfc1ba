-- What the commitments in our attestations are of, for the peers that audit us.
CREATE TABLE commitments (
    digest bytea PRIMARY KEY CHECK (length(digest) = 32),
    -- The very octets that the digest is of.
    opening bytea NOT NULL CHECK (length(opening) <= 65536),
    -- When the attestation ends; it may still be audited for some time then.
    ends_at timestamptz NOT NULL
);

CREATE INDEX commitments_ends_at ON commitments (ends_at);

-- Harmless pictures that we drew, none like another. Whoever attests one of them has not looked.
CREATE TABLE canaries (
    sha256 bytea PRIMARY KEY CHECK (length(sha256) = 32),
    note text NOT NULL CHECK (length(note) <= 500),
    drawn_by text NOT NULL,
    drawn_at timestamptz NOT NULL
);

-- What an audit's outcome rests on, for whoever wants to know why a peer stands where it stands.
ALTER TABLE reliance
    ADD COLUMN ground text CHECK (ground IN ('scan', 'scores', 'opening', 'unopened', 'canary'));
