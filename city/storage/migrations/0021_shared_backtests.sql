-- Back-tests that somebody waits for: run by one centre, asked for at any of those that share an address. Unlogged:
-- nobody waits any more for what a crash of the database ended.
CREATE UNLOGGED TABLE backtests (
    key        text PRIMARY KEY,
    owner      text NOT NULL,
    state      text NOT NULL DEFAULT 'running' CONSTRAINT backtests_state_known
        CHECK (state IN ('running', 'done', 'failed', 'cancelled')),
    done       bigint NOT NULL DEFAULT 0,
    expected   bigint NOT NULL DEFAULT 0,
    report     bytea,                             -- JSON, as the worker wrote it
    error      text,
    looked_at  timestamptz NOT NULL,              -- when somebody last asked for it
    alive_at   timestamptz NOT NULL,              -- when its centre last said that it runs
    -- A report of one that is not done would be shown as if it were whole.
    CONSTRAINT backtests_done_has_report CHECK ((state = 'done') = (report IS NOT NULL))
);
