-- When the batch ends that is being filled. Ordinary peers see what was added until then only from then on,
-- whichever replica added it, and so in the order of the numbers.
ALTER TABLE feed_counter ADD COLUMN batch_ends_at timestamptz;

-- What may be given out, in the order in which it is looked up. What may not is not in here at all, so that to
-- look for it takes exactly as long as to look for what never was.
CREATE INDEX attestations_given ON attestations (sha256, profile, published DESC, id DESC) INCLUDE (end_time)
WHERE NOT is_withheld_share AND audience = 'public';

-- How much came from a peer within a day.
CREATE INDEX mirror_received_at ON mirror (issuer, received_at);
