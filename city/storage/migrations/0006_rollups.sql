-- How far hourly rollups reach, and what came so late that a day must be rolled up again.
CREATE TABLE rollup_progress (
    only_one  boolean PRIMARY KEY DEFAULT true CONSTRAINT rollup_progress_only_one CHECK (only_one),
    done_to   date NOT NULL,                      -- UTC days before this one are rolled up
    looked_at timestamptz NOT NULL                -- late readings that arrived before this are in
);
-- Only late rows are in it (bit 2 of quality), so that the stream of readings on time pays nothing for it.
CREATE INDEX observations_late ON observations (received_at) WHERE quality & 2 <> 0;
