-- What is taken back, what is warned of, and whose word is doubted.

-- When a state of our own scanner was taken back; it never comes back under the same digest.
ALTER TABLE states ADD COLUMN retired_at timestamptz;

CREATE INDEX attestations_state ON attestations (state_digest, end_time);
CREATE INDEX revocations_received_at ON revocations (received_at);

-- Where a peer began to read our feed, and how far it has come: what lies between, it has received.
ALTER TABLE peers ADD COLUMN served_from bigint, ADD COLUMN served_to bigint;

-- The terms of many lists forbid to tell others what they hold.
ALTER TABLE hash_lists ADD COLUMN allows_alerts boolean NOT NULL DEFAULT false;

-- Until this is set, a warning is still to be compared with what was seen before it came.
ALTER TABLE alerts ADD COLUMN compared_at timestamptz;
CREATE INDEX alerts_pending ON alerts (received_at) WHERE compared_at IS NULL;

-- Bytes of ours that a warning fits: withheld until a person rules on them.
CREATE TABLE alert_hits (
    sha256 bytea NOT NULL CHECK (length(sha256) = 32),
    issuer text NOT NULL,
    mac bytea NOT NULL CHECK (length(mac) = 32),
    category text NOT NULL,
    found_at timestamptz NOT NULL,
    PRIMARY KEY (sha256, issuer)
);

-- Our own warnings on their way: sealed, so that this table names nothing.
CREATE TABLE alert_letters (
    id text PRIMARY KEY CHECK (length(id) <= 64),
    actor text NOT NULL REFERENCES peers (actor) ON DELETE CASCADE,
    mac bytea NOT NULL CHECK (length(mac) = 32),
    category text NOT NULL,
    created_at timestamptz NOT NULL,
    due_at timestamptz NOT NULL,
    tries integer NOT NULL DEFAULT 0,
    CONSTRAINT alert_letters_once UNIQUE (actor, mac)
);

CREATE INDEX alert_letters_due ON alert_letters (due_at);

-- When each relay, this one included, last doubted an issuer.
CREATE TABLE doubts (
    teller text NOT NULL,
    issuer text NOT NULL,
    told_at timestamptz NOT NULL,
    PRIMARY KEY (teller, issuer)
);
