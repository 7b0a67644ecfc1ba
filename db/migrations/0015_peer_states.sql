-- What peers tell us in confidence of their scanners. It is kept apart from our own states, which other peers
-- may read.
CREATE TABLE peer_states (
    actor text NOT NULL REFERENCES peers (actor) ON DELETE CASCADE,
    state_digest bytea NOT NULL CHECK (length(state_digest) = 32),
    document jsonb NOT NULL,
    fetched_at timestamptz NOT NULL,
    PRIMARY KEY (actor, state_digest)
);

CREATE INDEX peer_states_fetched_at ON peer_states (fetched_at);
