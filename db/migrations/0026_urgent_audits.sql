-- Audits that the ordinary coin would not have chosen, but what is new about the media did: they are made soon,
-- and whoever else has scanned the same bytes by then.
ALTER TABLE reliance ADD COLUMN is_urgent boolean NOT NULL DEFAULT false;
