CREATE TABLE deliveries (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    -- SHA-256 over activity id, body digest and inbox: ids can be longer than an index entry may be.
    identity bytea NOT NULL CONSTRAINT deliveries_identity UNIQUE CHECK (length(identity) = 32),
    -- 64 bits of the SHA-256 of chain_key; NULL for a delivery that belongs to no chain.
    chain bigint,
    chain_key text NOT NULL,
    state text NOT NULL CHECK (
        state IN ('received', 'examining', 'held', 'decided', 'forwarding', 'forwarded', 'dropped', 'dead')
    ),
    -- Stands behind an unfinished delivery of its chain, so that no claim need look at it.
    is_waiting boolean NOT NULL,
    -- When somebody should look at it next; while it is worked on, when the lease ends.
    due_at timestamptz NOT NULL,
    worker text,
    attempts integer NOT NULL DEFAULT 0,
    retries integer NOT NULL DEFAULT 0,
    reason text,
    hold_until timestamptz,
    activity_id text NOT NULL,
    activity_type text NOT NULL,
    actor text NOT NULL,
    object_id text NOT NULL,
    inbox text NOT NULL,
    -- Method, scheme, authority, target and headers as JSON in ASCII: exact, where text and jsonb would
    -- refuse U+0000 and undecodable header bytes.
    head bytea NOT NULL,
    body bytea NOT NULL,
    body_digest bytea NOT NULL CHECK (length(body_digest) = 32),
    sender_actor text,
    sender_key_id text,
    remote_address text NOT NULL,
    audience text NOT NULL CHECK (audience IN ('public', 'restricted')),
    is_selftest boolean NOT NULL,
    received_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    finished_at timestamptz,
    CHECK ((state IN ('forwarded', 'dropped', 'dead')) = (finished_at IS NOT NULL)),
    CHECK ((state IN ('examining', 'forwarding')) = (worker IS NOT NULL))
);

-- A body is read once or twice; compressing it would cost more than the room it saves.
ALTER TABLE deliveries ALTER COLUMN body SET STORAGE EXTERNAL;

-- Every delivery is rewritten some five times on its way; what that leaves behind is swept up early, so
-- that the indexes of the queue stay small beside the rows that are kept.
ALTER TABLE deliveries SET (
    autovacuum_vacuum_scale_factor = 0.01,
    autovacuum_vacuum_threshold = 1000,
    autovacuum_analyze_scale_factor = 0.02
);

CREATE INDEX deliveries_due ON deliveries (due_at, id)
WHERE state IN ('received', 'decided', 'examining', 'forwarding') AND NOT is_waiting;

-- NOT NULL keeps claims off this index, which whatever the statistics say must read the one above.
CREATE INDEX deliveries_chain ON deliveries (chain, id)
WHERE chain IS NOT NULL AND state NOT IN ('forwarded', 'dropped', 'dead');

CREATE INDEX deliveries_held ON deliveries (hold_until, id) WHERE state = 'held';

CREATE INDEX deliveries_finished ON deliveries (finished_at, id) WHERE finished_at IS NOT NULL;

CREATE INDEX deliveries_state ON deliveries (state, id);
