-- What can be brought back, which programs may work on this schema, and numbers that a restore passed over.

-- One row for each backup that was proved to be whole; the newest is watched (docs/backup.md).
CREATE TABLE backups (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    snapshot_at timestamptz NOT NULL,             -- the backup holds what was committed until then
    finished_at timestamptz NOT NULL,
    bytes       bigint NOT NULL,
    checked     boolean NOT NULL,                 -- restored into a scratch database and compared
    place       text NOT NULL,                    -- machine and folder, for people
    product     text NOT NULL,                    -- version that made it
    manifest    text NOT NULL,                    -- SHA-256 of its manifest.json, hexadecimal
    CONSTRAINT backups_in_order CHECK (finished_at >= snapshot_at)
);
CREATE INDEX backups_by_snapshot ON backups (snapshot_at);

-- The newest migration that a program has to know to work on this schema. A migration that takes something away, or
-- changes what a program reads or writes, sets it to its own name: older programs then stop with one line instead of
-- failing at each statement. One that only adds leaves it (docs/upgrade.md).
CREATE TABLE schema_release (
    only_one      boolean PRIMARY KEY DEFAULT true CONSTRAINT schema_release_once CHECK (only_one),
    oldest_reader text NOT NULL
);
INSERT INTO schema_release (oldest_reader) VALUES ('0027_grafana');

-- Numbers of a day that a restore left out, because people may hold papers with them: no incident of ours is missing.
CREATE TABLE incident_number_gaps (
    day   date NOT NULL,
    first integer NOT NULL,
    last  integer NOT NULL,
    CONSTRAINT incident_number_gaps_forward CHECK (last >= first),
    PRIMARY KEY (day, first)
);
