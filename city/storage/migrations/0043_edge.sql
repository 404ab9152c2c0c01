-- A district that reports to its city (docs/edge.md). What is stored here is written down once more in the transaction
-- that stored it, until the city has it: so nothing is skipped, in whatever order transactions end. Without an uplink
-- both tables stay empty.

-- The readings of one batch in columns, element i of each array is one reading; ``also`` are camera events and links.
CREATE TABLE uplink_batches (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    stored_at   timestamptz NOT NULL DEFAULT now(),
    sent_at     timestamptz,                      -- the city's broker acknowledged it; kept a while, to be sent again
    size        integer NOT NULL CONSTRAINT uplink_batches_not_empty CHECK (size > 0), -- readings and others together
    device_ids  integer[] NOT NULL,
    metric_ids  smallint[] NOT NULL,
    observed_us bigint[] NOT NULL,                -- microseconds since 1970 UTC
    "values"    double precision[] NOT NULL,
    seqs        bigint[] NOT NULL,                -- -1 = the sender numbers nothing
    qualities   smallint[] NOT NULL,              -- bits of city.observations.Quality
    also        jsonb NOT NULL DEFAULT '[]',
    -- Columns of different lengths would give one device another's value.
    CONSTRAINT uplink_batches_columns_agree CHECK (
        cardinality(metric_ids) = cardinality(device_ids) AND cardinality(observed_us) = cardinality(device_ids)
        AND cardinality("values") = cardinality(device_ids) AND cardinality(seqs) = cardinality(device_ids)
        AND cardinality(qualities) = cardinality(device_ids))
);
CREATE INDEX uplink_batches_unsent ON uplink_batches (id) INCLUDE (size, stored_at) WHERE sent_at IS NULL;
CREATE INDEX uplink_batches_sent ON uplink_batches (sent_at) WHERE sent_at IS NOT NULL;

-- How the line to the city is, as the one uplink process last said.
CREATE TABLE uplink_state (
    only_one   boolean PRIMARY KEY DEFAULT true CONSTRAINT uplink_state_only_one CHECK (only_one),
    node       text NOT NULL,                     -- code of this district's node at the city
    alive_at   timestamptz NOT NULL,              -- of the process
    up         boolean NOT NULL,
    since      timestamptz NOT NULL,              -- up or cut since then
    why        text NOT NULL DEFAULT '',          -- of a line that is cut, in the broker's or the system's words
    waiting    bigint NOT NULL DEFAULT 0,         -- readings and others not acknowledged by the city
    oldest_at  timestamptz,                       -- stored here, the oldest of these
    sent       bigint NOT NULL DEFAULT 0,         -- acknowledged, ever
    refused    bigint NOT NULL DEFAULT 0,         -- messages that the city's broker does not let this node say, ever
    refused_topic text NOT NULL DEFAULT '',       -- the last of these
    expired    bigint NOT NULL DEFAULT 0          -- given up after CITY_UPLINK_DAYS, ever; they stay in observations
);
