-- A log in partitions, each read by one worker at a time (docs/scale.md). Without such a log both tables stay empty.

CREATE TABLE partition_state (
    partition   smallint PRIMARY KEY CONSTRAINT partition_state_counted CHECK (partition >= 0),
    epoch       bigint NOT NULL DEFAULT 0,        -- grows with every owner: who writes with an older one is none any more
    owner       text NOT NULL DEFAULT '',         -- the worker's name, for people and for itself
    next_offset bigint NOT NULL DEFAULT 0         -- the first record whose effects are not stored yet
        CONSTRAINT partition_state_from_zero CHECK (next_offset >= 0),
    received_us bigint NOT NULL DEFAULT 0,        -- arrival given to the last record; the next one's is later
    changed_at  timestamptz NOT NULL DEFAULT now()
);

-- By which partition a device speaks: its rule state is that partition's owner's to write. One that was never heard
-- and was not assigned has no row.
CREATE TABLE device_partitions (
    device_id integer PRIMARY KEY REFERENCES devices (id) ON DELETE CASCADE,
    partition smallint NOT NULL REFERENCES partition_state (partition)
);
CREATE INDEX device_partitions_by_partition ON device_partitions (partition, device_id);
