CREATE TABLE hash_lists (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text NOT NULL CONSTRAINT hash_lists_name UNIQUE,
    version text NOT NULL,
    category text NOT NULL,
    label text,
    is_advisory boolean NOT NULL,
    distance integer NOT NULL CHECK (distance BETWEEN 0 AND 255),
    min_quality integer NOT NULL CHECK (min_quality BETWEEN 0 AND 100),
    is_dihedral boolean NOT NULL,
    digest bytea NOT NULL CHECK (length(digest) = 32),
    entries bigint NOT NULL,
    imported_at timestamptz NOT NULL,
    withdrawn_at timestamptz
);

-- Thousands of values a row: a list of millions is read and written at the speed of the disk.
CREATE TABLE hash_blocks (
    list_id bigint NOT NULL REFERENCES hash_lists (id) ON DELETE CASCADE,
    kind text NOT NULL CHECK (kind IN ('sha256', 'sha1', 'md5', 'pdq')),
    -- The first value of the block; values rise bytewise within a block and from block to block.
    first_value bytea NOT NULL,
    hash_values bytea NOT NULL,
    -- The maker's ids of the values, in their order; NULL where the list has none.
    labels text [],
    PRIMARY KEY (list_id, kind, first_value)
);

-- Hashes are chance bits, which no compression shortens.
ALTER TABLE hash_blocks ALTER COLUMN hash_values SET STORAGE EXTERNAL;

-- Entries that this instance does not want, whatever the list's next version says.
CREATE TABLE hash_withdrawals (
    list_id bigint NOT NULL REFERENCES hash_lists (id) ON DELETE CASCADE,
    kind text NOT NULL,
    hash_value bytea NOT NULL,
    withdrawn_at timestamptz NOT NULL,
    PRIMARY KEY (list_id, kind, hash_value)
);
