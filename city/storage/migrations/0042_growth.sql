-- Days whose readings left the database for a file (city history archive). One row a day, from the oldest on: what lies
-- before the newest of them is in files, and in hourly values (rollups).
CREATE TABLE history_archive (
    day         date PRIMARY KEY,                 -- UTC
    file        text NOT NULL,                    -- its name in the folder of CITY_DATA_DIR/history; empty = no readings
    readings    bigint NOT NULL CONSTRAINT history_archive_readings_counted CHECK (readings >= 0),
    bytes       bigint NOT NULL,
    sha256      text NOT NULL,                    -- of the file: a file that lost a bit is not restored as if nothing were
    archived_at timestamptz NOT NULL DEFAULT now(),
    restored_at timestamptz,                      -- its readings are in the database as well, until it is archived again
    CONSTRAINT history_archive_file_proved CHECK ((readings = 0) = (file = '') AND (readings = 0) = (sha256 = ''))
);
