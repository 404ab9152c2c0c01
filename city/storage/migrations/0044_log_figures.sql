-- How far each partition is behind, and what befell it (docs/scale.md). Kept beside the offset: a worker's own counters
-- die with it, and what was lost must not be forgotten with whoever found it missing.
ALTER TABLE partition_state
    ADD COLUMN end_offset bigint NOT NULL DEFAULT 0,             -- behind the log's last record, when the owner looked
    ADD COLUMN looked_at  timestamptz,                           -- null = no owner ever looked
    ADD COLUMN level_at   timestamptz NOT NULL DEFAULT now(),    -- nothing was unread then
    ADD COLUMN takeovers  bigint NOT NULL DEFAULT 0,             -- by another worker than the one before
    ADD COLUMN moved      bigint NOT NULL DEFAULT 0,             -- devices that spoke by another partition before
    ADD COLUMN lost       bigint NOT NULL DEFAULT 0,             -- records that the log dropped before they were read
    ADD COLUMN lost_at    timestamptz;                           -- when that was found last
