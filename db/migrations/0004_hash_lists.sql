CREATE TABLE hash_lists (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text NOT NULL CONSTRAINT hash_lists_name UNIQUE,
    version text NOT NULL,
    category text NOT NULL,
    distance integer NOT NULL CHECK (distance BETWEEN 0 AND 256),
    min_quality integer NOT NULL CHECK (min_quality BETWEEN 0 AND 100),
    is_dihedral boolean NOT NULL,
    digest bytea NOT NULL CHECK (length(digest) = 32),
    entries bigint NOT NULL,
    imported_at timestamptz NOT NULL,
    withdrawn_at timestamptz
);

CREATE TABLE hash_entries (
    list_id bigint NOT NULL REFERENCES hash_lists (id) ON DELETE CASCADE,
    ordinal bigint NOT NULL,
    kind text NOT NULL CHECK (kind IN ('sha256', 'sha1', 'md5', 'pdq')),
    value bytea NOT NULL,
    label text,
    withdrawn_at timestamptz,
    -- Orders the entries and lets them be read in pages; values are random and would make a slow index.
    PRIMARY KEY (list_id, ordinal)
);

CREATE INDEX hash_entries_withdrawn ON hash_entries (list_id) WHERE withdrawn_at IS NOT NULL;
