-- One row for each sweep over what a server has stored: how far it is and what it counted.
CREATE TABLE sweeps (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    source text NOT NULL,
    is_dry_run boolean NOT NULL,
    state text NOT NULL CHECK (state IN ('open', 'finished', 'abandoned')),
    started_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    -- The place of the last file that is done, in the source's own words; empty at the beginning.
    cursor bytea NOT NULL,
    counters jsonb NOT NULL,
    -- The state of the scanner at the start.
    state_digest bytea NOT NULL CHECK (length(state_digest) = 32)
);

CREATE UNIQUE INDEX sweeps_open ON sweeps (source, is_dry_run) WHERE state = 'open';
CREATE INDEX sweeps_source ON sweeps (source, id);

-- Who sweeps a source now.
CREATE TABLE sweep_leases (
    source text PRIMARY KEY,
    holder text NOT NULL,
    lease_until timestamptz NOT NULL
);

-- The cases of what a sweep found, whether it opened them or not. Cases may be gone, so no foreign key.
CREATE TABLE sweep_cases (
    sweep_id bigint NOT NULL REFERENCES sweeps ON DELETE CASCADE,
    case_id bigint NOT NULL,
    is_by_hand boolean NOT NULL,
    PRIMARY KEY (sweep_id, case_id)
);

-- A sweep asks for the case of some bytes, by whichever door they came.
CREATE INDEX IF NOT EXISTS cases_sha256 ON cases (sha256) WHERE sha256 IS NOT NULL;
