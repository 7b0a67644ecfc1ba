-- Which files a listed hash was found near, to notice one that fits many different pictures.
CREATE TABLE near_matches (
    list_name text NOT NULL,
    -- The scanner's opaque name of the listed hash.
    entry text NOT NULL CHECK (length(entry) = 16),
    sha256 bytea NOT NULL CHECK (length(sha256) = 32),
    -- The PDQ hash of the file's first picture that has one.
    bits bytea NOT NULL CHECK (length(bits) = 32),
    seen_at timestamptz NOT NULL,
    PRIMARY KEY (list_name, entry, sha256)
);

CREATE INDEX near_matches_seen_at ON near_matches (seen_at);

-- Listed hashes that were noticed so, and what was decided about them.
CREATE TABLE noisy_entries (
    list_name text NOT NULL,
    entry text NOT NULL CHECK (length(entry) = 16),
    state text NOT NULL CHECK (state IN ('alarm', 'suspended', 'kept')),
    -- How many pictures that look unlike each other it fitted.
    unlike integer NOT NULL,
    noticed_at timestamptz NOT NULL,
    decided_by text NOT NULL,
    PRIMARY KEY (list_name, entry)
);
