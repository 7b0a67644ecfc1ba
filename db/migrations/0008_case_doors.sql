-- By which door the media of a case came in.
ALTER TABLE cases ADD COLUMN door text NOT NULL DEFAULT 'inbox' CHECK (
    door IN ('inbox', 'gateway', 'validator', 'uploads', 'sweep')
);
