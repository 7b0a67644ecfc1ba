-- Activities for other relays (Follow, Accept, Reject, Undo) that are not delivered yet.
CREATE TABLE peer_outbox (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    -- To whom. No reference to the peer: a farewell outlives it.
    actor text NOT NULL CHECK (length(actor) <= 2048),
    inbox text NOT NULL CHECK (length(inbox) <= 2048),
    kind text NOT NULL CHECK (kind IN ('Follow', 'Accept', 'Reject', 'Undo')),
    body bytea NOT NULL,
    created_at timestamptz NOT NULL,
    -- When it is sent next; NULL once it was given up.
    due_at timestamptz,
    tries integer NOT NULL DEFAULT 0,
    reason text
);

CREATE INDEX peer_outbox_actor ON peer_outbox (actor, id);
CREATE INDEX peer_outbox_due_at ON peer_outbox (due_at) WHERE due_at IS NOT NULL;

-- Strangers' requests to follow are counted by the hour.
CREATE INDEX peers_added_at ON peers (added_at);
