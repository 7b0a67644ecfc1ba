-- What people upheld, kept for the instance's own lists. The hashes of seen media are forgotten after a month.
CREATE TABLE upheld (
    sha256 bytea PRIMARY KEY CHECK (length(sha256) = 32),
    category text NOT NULL,
    -- PDQ hashes of a still picture, one after the other; empty for everything else.
    pdq bytea NOT NULL CHECK (length(pdq) % 32 = 0),
    noted_at timestamptz NOT NULL
);
