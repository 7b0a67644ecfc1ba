-- Who follows whom, where a peer's API is, and how far its feed was read.
ALTER TABLE peers
    ADD COLUMN inbox text NOT NULL DEFAULT '',
    ADD COLUMN api_url text NOT NULL DEFAULT '',
    -- Operator, registrable domain and network: what is counted once when votes are counted.
    ADD COLUMN trust_group text NOT NULL DEFAULT '',
    ADD COLUMN they_follow text NOT NULL DEFAULT 'no' CHECK (they_follow IN ('no', 'asked', 'accepted')),
    ADD COLUMN their_follow text NOT NULL DEFAULT '',
    ADD COLUMN we_follow text NOT NULL DEFAULT 'no' CHECK (we_follow IN ('no', 'asked', 'accepted')),
    ADD COLUMN our_follow text NOT NULL DEFAULT '',
    ADD COLUMN feed_cursor bigint,
    ADD COLUMN feed_read_at timestamptz,
    -- Categories for which both sides exchange alerts; empty for none.
    ADD COLUMN alerts text [] NOT NULL DEFAULT '{}',
    ADD COLUMN alert_key bytea CHECK (length(alert_key) = 32);

-- The keys that a peer signs with. An old one stays until its attestations have ended.
CREATE TABLE peer_keys (
    key_id text PRIMARY KEY CHECK (length(key_id) <= 2048),
    actor text NOT NULL REFERENCES peers (actor) ON DELETE CASCADE,
    multikey text NOT NULL,
    admitted_at timestamptz NOT NULL,
    expires_at timestamptz,
    -- What the owner declares as the time of its compromise: nothing seen from then on counts.
    revoked_at timestamptz
);

CREATE INDEX peer_keys_actor ON peer_keys (actor);

CREATE TABLE standings (
    actor text NOT NULL REFERENCES peers (actor) ON DELETE CASCADE,
    profile text NOT NULL CHECK (length(profile) <= 1024),
    key_id text NOT NULL CHECK (length(key_id) <= 2048),
    tier text NOT NULL CHECK (tier IN ('unknown', 'probation', 'trusted', 'allied', 'quarantined')),
    log_ratio double precision NOT NULL,
    credit double precision NOT NULL,
    audits bigint NOT NULL,
    agreements bigint NOT NULL,
    scrutiny integer NOT NULL,
    updated_at timestamptz NOT NULL,
    PRIMARY KEY (actor, profile, key_id)
);

-- What peers attest, as they signed it.
CREATE TABLE mirror (
    id text PRIMARY KEY CHECK (length(id) <= 2048),
    issuer text NOT NULL,
    key_id text NOT NULL,
    sha256 bytea NOT NULL CHECK (length(sha256) = 32),
    profile text NOT NULL CHECK (length(profile) <= 1024),
    state_digest bytea NOT NULL CHECK (length(state_digest) = 32),
    as_of timestamptz NOT NULL,
    published timestamptz NOT NULL,
    end_time timestamptz NOT NULL,
    received_at timestamptz NOT NULL,
    object bytea NOT NULL
);

-- An object is signed chance; compressing it costs more than it saves.
ALTER TABLE mirror ALTER COLUMN object SET STORAGE EXTERNAL;

CREATE INDEX mirror_sha256 ON mirror (sha256);
CREATE INDEX mirror_end_time ON mirror (end_time);
CREATE INDEX mirror_issuer ON mirror (issuer, id);

-- What we give our peers to read, in the order in which it was committed.
CREATE TABLE feed (
    seq bigint PRIMARY KEY,
    kind text NOT NULL CHECK (kind IN ('attestation', 'revocation', 'notice')),
    -- NULL: for every peer. Else for this one alone.
    peer text,
    -- When ordinary peers may see it; allied ones see it at once.
    visible_at timestamptz NOT NULL,
    created_at timestamptz NOT NULL,
    object bytea NOT NULL
);

ALTER TABLE feed ALTER COLUMN object SET STORAGE EXTERNAL;

CREATE INDEX feed_created_at ON feed (created_at);

-- The number that the next row of the feed has; rows are numbered under its lock, so that none appears
-- below one that was read already.
CREATE TABLE feed_counter (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    next_seq bigint NOT NULL
);
INSERT INTO feed_counter (next_seq) VALUES (1);

-- Scans that a peer's word has spared us, for as long as they may have to be made up for.
CREATE TABLE reliance (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    sha256 bytea NOT NULL CHECK (length(sha256) = 32),
    issuer text NOT NULL,
    profile text NOT NULL,
    key_id text NOT NULL,
    attestation_id text NOT NULL,
    -- Where the bytes can be had again, for a rescan; nothing that was flagged is here.
    url text NOT NULL,
    relied_at timestamptz NOT NULL,
    -- The rate at which the coin of an audit was tossed, for estimates that weigh by it.
    audit_rate double precision NOT NULL CHECK (audit_rate BETWEEN 0 AND 1),
    -- When to scan the bytes ourselves; NULL where the coin said no.
    due_at timestamptz,
    worker text,
    outcome text CHECK (
        outcome IN ('agrees', 'disagrees', 'contradicts', 'not_comparable', 'skipped', 'lost', 'rescanned')
    ),
    finished_at timestamptz,
    CONSTRAINT reliance_once UNIQUE (sha256, issuer, profile)
);

CREATE INDEX reliance_due ON reliance (due_at) WHERE due_at IS NOT NULL AND finished_at IS NULL;
CREATE INDEX reliance_issuer ON reliance (issuer, id);
CREATE INDEX reliance_relied_at ON reliance (relied_at);

-- Sealed words of warning from allied peers: a keyed digest and a category, nothing else.
CREATE TABLE alerts (
    issuer text NOT NULL,
    mac bytea NOT NULL CHECK (length(mac) = 32),
    category text NOT NULL,
    received_at timestamptz NOT NULL,
    case_id bigint,
    PRIMARY KEY (issuer, mac)
);

CREATE INDEX alerts_received_at ON alerts (received_at);
