-- When to look again at bytes that were let go before a peer's warning fitted them, and by whom that is claimed.
-- NULL where there is nothing to do: they were scanned as they came in, or looked at since.
ALTER TABLE alert_hits ADD COLUMN look_at timestamptz, ADD COLUMN worker text;

CREATE INDEX alert_hits_look_at ON alert_hits (look_at) WHERE look_at IS NOT NULL;
