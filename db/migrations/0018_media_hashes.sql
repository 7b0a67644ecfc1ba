-- What is kept of seen media, to compare it with hash lists that come later: no pixels and no addresses.
CREATE TABLE media_hashes (
    sha256 bytea PRIMARY KEY CHECK (length(sha256) = 32),
    sha1 bytea NOT NULL CHECK (length(sha1) = 20),
    md5 bytea NOT NULL CHECK (length(md5) = 16),
    -- The PDQ hashes of its pictures in every orientation, packed by the scanner; empty where there are none.
    pictures bytea NOT NULL,
    -- The digest of the lists that it was last compared with.
    lists_digest bytea NOT NULL CHECK (length(lists_digest) = 32),
    seen_at timestamptz NOT NULL
);

CREATE INDEX media_hashes_seen_at ON media_hashes (seen_at, sha256);

-- Hashes are chance bits, which no compression shortens.
ALTER TABLE media_hashes ALTER COLUMN pictures SET STORAGE EXTERNAL;

-- Every row is rewritten when lists change; with room in its page no index has to follow.
ALTER TABLE media_hashes SET (fillfactor = 80);
