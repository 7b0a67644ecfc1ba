-- How old a fetched list may become before what it does not match is held; NULL where it is matched at any age.
ALTER TABLE list_sources ADD COLUMN hold_after interval CHECK (hold_after > interval '0');
