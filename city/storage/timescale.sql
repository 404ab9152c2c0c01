-- What TimescaleDB adds where it is there; both editions, repeatable. Compression belongs to the full edition alone:
-- timescale_full.sql.
CREATE EXTENSION IF NOT EXISTS timescaledb;
-- Some tables' chunks are searched by (device, metric, time) through the primary key; the default time index would
-- only cost writes.
-- Asked first: create_hypertable locks the table against everybody even where it has nothing to do.
DO $$ BEGIN
    IF NOT EXISTS (SELECT FROM timescaledb_information.hypertables
                   WHERE hypertable_schema = 'public' AND hypertable_name = 'observations') THEN
        PERFORM create_hypertable('observations', 'observed_at', chunk_time_interval => interval '1 day',
                                  create_default_indexes => false, if_not_exists => true, migrate_data => true);
    END IF;
END $$;
