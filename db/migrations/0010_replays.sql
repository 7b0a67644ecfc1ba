-- When a person last sent a dead letter back into the queue: from then on its patience counts anew.
ALTER TABLE deliveries ADD COLUMN replayed_at timestamptz;

-- A Delete ends what is kept of its object, dead letters included.
CREATE INDEX deliveries_dead_chain ON deliveries (chain)
WHERE chain IS NOT NULL AND state = 'dead';
