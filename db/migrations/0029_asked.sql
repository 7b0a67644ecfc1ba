-- Since when a peer has been asked for what it owes us about some word: its patience is counted from there, and
-- not from when the word was relied on, for we may have been away ourselves.
ALTER TABLE reliance ADD COLUMN asked_at timestamptz;

-- When a peer lost a part of its past, as one does that was set up anew from a copy. What it cannot show of
-- before is held against it once in a while only.
ALTER TABLE peers ADD COLUMN lost_past_at timestamptz;
