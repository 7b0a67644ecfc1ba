-- What a match with a list means: it is blocked, or (an allow list, exact digests only) let go.
ALTER TABLE hash_lists
ADD COLUMN purpose text NOT NULL DEFAULT 'block' CHECK (purpose IN ('block', 'allow'));

-- Lists that are fetched, each from one place, and how far that is.
CREATE TABLE list_sources (
    list_id bigint PRIMARY KEY REFERENCES hash_lists (id) ON DELETE CASCADE,
    kind text NOT NULL CHECK (length(kind) <= 32),
    url text NOT NULL CHECK (length(url) <= 2048),
    -- Where the credentials are; never themselves.
    credentials text NOT NULL DEFAULT '' CHECK (length(credentials) <= 4096),
    options jsonb NOT NULL DEFAULT '{}',
    every interval NOT NULL CHECK (every > interval '0'),
    accepted_at timestamptz NOT NULL,
    -- Where the next page begins; NULL before the first one.
    checkpoint jsonb,
    -- Counts the fetches from the beginning: what one of them does not name is gone when it ends.
    generation integer NOT NULL DEFAULT 0,
    due_at timestamptz NOT NULL,
    tries integer NOT NULL DEFAULT 0,
    -- When everything was last fetched.
    synced_at timestamptz,
    error_kind text,
    error text,
    -- Hashes of kinds that we have no use for, since the last fetch from the beginning.
    unusable jsonb NOT NULL DEFAULT '{}',
    worker text,
    lease_until timestamptz
);

CREATE INDEX list_sources_due ON list_sources (due_at);

-- Which hashes stand in which record of the maker's. A hash is listed as long as one record holds it.
CREATE TABLE list_holdings (
    list_id bigint NOT NULL REFERENCES list_sources (list_id) ON DELETE CASCADE,
    -- The first 16 bytes of SHA-256 over the maker's id.
    record bytea NOT NULL CHECK (length(record) = 16),
    kind text NOT NULL,
    hash_value bytea NOT NULL,
    changed_at timestamptz NOT NULL,
    generation integer NOT NULL,
    label text,
    PRIMARY KEY (list_id, record, kind, hash_value)
);

CREATE INDEX list_holdings_values ON list_holdings (list_id, kind, hash_value);

-- Records that the maker took back: an older page does not bring them back.
CREATE TABLE list_tombstones (
    list_id bigint NOT NULL REFERENCES list_sources (list_id) ON DELETE CASCADE,
    record bytea NOT NULL CHECK (length(record) = 16),
    removed_at timestamptz NOT NULL,
    PRIMARY KEY (list_id, record)
);

-- Hashes that records gained or lost since the blocks of the list were last written.
CREATE TABLE list_changes (
    list_id bigint NOT NULL REFERENCES list_sources (list_id) ON DELETE CASCADE,
    kind text NOT NULL,
    hash_value bytea NOT NULL,
    PRIMARY KEY (list_id, kind, hash_value)
);
