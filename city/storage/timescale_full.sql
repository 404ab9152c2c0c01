-- What TimescaleDB's full edition adds: chunks whose readings are a day old become columns. Repeatable; a setting or a
-- policy that is there already, whoever made it, stays. A device's readings of one quantity lie together, in order of
-- time; the least and the greatest received_at of each thousand are noted, by which the hourly look for late readings
-- passes over the rest.
DO $$ BEGIN
    IF EXISTS (SELECT FROM timescaledb_information.hypertables WHERE hypertable_schema = 'public'
               AND hypertable_name = 'observations' AND NOT compression_enabled) THEN
        ALTER TABLE observations SET (timescaledb.compress, timescaledb.compress_segmentby = 'device_id, metric_id',
                                      timescaledb.compress_orderby = 'observed_at, received_at');
    END IF;
    IF NOT EXISTS (SELECT FROM timescaledb_information.jobs WHERE hypertable_schema = 'public'
                   AND hypertable_name = 'observations'
                   AND proc_name IN ('policy_compression', 'policy_columnstore')) THEN
        PERFORM add_compression_policy('observations', interval '1 day');
    END IF;
END $$;
