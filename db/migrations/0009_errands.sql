-- What has to be done on the backend, or about something that the backend told us.
CREATE TABLE errands (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    -- SHA-256 over kind, subject and case: subjects are ids, and can be longer than an index entry may be.
    identity bytea NOT NULL CONSTRAINT errands_identity UNIQUE CHECK (length(identity) = 32),
    kind text NOT NULL CHECK (kind IN ('report', 'remove', 'purge_media', 'examine_upload', 'resolve')),
    subject text NOT NULL,
    -- Kept when the case is forgotten, so no foreign key.
    case_id bigint,
    -- What the errand needs to be carried out; emptied when it is done.
    payload jsonb NOT NULL,
    state text NOT NULL CHECK (state IN ('waiting', 'working', 'done', 'failed')),
    -- When somebody should look at it next; while it is worked on, when the lease ends.
    due_at timestamptz NOT NULL,
    worker text,
    tries integer NOT NULL DEFAULT 0,
    lost_leases integer NOT NULL DEFAULT 0,
    reason text,
    created_at timestamptz NOT NULL,
    -- When the present round of tries began: a person may order another one.
    tried_since timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    finished_at timestamptz,
    CHECK ((state = 'working') = (worker IS NOT NULL)),
    CHECK ((state IN ('done', 'failed')) = (finished_at IS NOT NULL))
);

CREATE INDEX errands_due ON errands (due_at, id) WHERE state IN ('waiting', 'working');

CREATE INDEX errands_finished ON errands (finished_at, id) WHERE finished_at IS NOT NULL;

CREATE INDEX errands_case ON errands (case_id) WHERE case_id IS NOT NULL;

-- Where on the backend media lies that a person may yet rule on and that came by no delivery.
CREATE TABLE sightings (
    -- SHA-256 over digest, object and alias: ids can be longer than an index entry may be.
    identity bytea PRIMARY KEY CHECK (length(identity) = 32),
    sha256 bytea NOT NULL CHECK (length(sha256) = 32),
    object_id text NOT NULL,
    actor_id text NOT NULL,
    alias text NOT NULL,
    seen_at timestamptz NOT NULL
);

CREATE INDEX sightings_sha256 ON sightings (sha256, seen_at);

CREATE INDEX sightings_seen_at ON sightings (seen_at);
