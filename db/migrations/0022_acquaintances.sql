-- Since when authors, domains, and kinds of media from an issuer have been met, by a digest of their name: what
-- is new is audited more often.
CREATE TABLE acquaintances (
    who bytea PRIMARY KEY CHECK (length(who) = 16),
    first_met timestamptz NOT NULL,
    last_met timestamptz NOT NULL
);

CREATE INDEX acquaintances_last_met ON acquaintances (last_met);
