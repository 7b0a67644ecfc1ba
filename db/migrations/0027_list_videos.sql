-- Listed videos: a list holds their names, of the kind 'vpdq', as it holds hashes; here is what they look like.
ALTER TABLE hash_blocks
DROP CONSTRAINT hash_blocks_kind_check,
ADD CONSTRAINT hash_blocks_kind_check CHECK (kind IN ('sha256', 'sha1', 'md5', 'pdq', 'vpdq'));

CREATE TABLE list_videos (
    list_id bigint NOT NULL REFERENCES hash_lists (id) ON DELETE CASCADE,
    -- The name: SHA-256 over the frames.
    video bytea NOT NULL CHECK (length(video) = 32),
    -- The PDQ hashes of its frames, concatenated, sorted, each once.
    frames bytea NOT NULL CHECK (length(frames) > 0 AND length(frames) % 32 = 0),
    PRIMARY KEY (list_id, video)
);

-- Hashes are chance bits, which no compression shortens.
ALTER TABLE list_videos ALTER COLUMN frames SET STORAGE EXTERNAL;
