-- Several command centres on one database (docs/centres.md).

-- Each running centre, said by itself every five seconds. What one of them alone can see (its disk, its certificates)
-- is judged over all of them, so that two do not raise and clear the same alarm in turns.
CREATE TABLE centres (
    id               text PRIMARY KEY,            -- of the process, drawn at its start
    host             text NOT NULL,
    started_at       timestamptz NOT NULL DEFAULT now(),
    seen_at          timestamptz NOT NULL DEFAULT now(),  -- by the database's clock
    leaving          boolean NOT NULL DEFAULT false,      -- was asked to stop: no place for another's screens
    disk             text NOT NULL DEFAULT 'ok' CONSTRAINT centres_disk CHECK (disk IN ('ok', 'little', 'none')),
    disk_free_bytes  bigint,                      -- of CITY_DATA_DIR; NULL = there is no such folder
    certificates_end jsonb NOT NULL DEFAULT '{}'  -- name to instant, as this centre sees them
);

-- What is to be done once in a while by whichever centre comes first.
CREATE TABLE duties (
    name    text PRIMARY KEY,
    done_at timestamptz NOT NULL
);
