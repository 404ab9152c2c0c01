-- Walls that show themselves without a person: paired once by an administrator, let in by a cookie afterwards.
CREATE TABLE screens (
    id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name           text NOT NULL,                 -- where it hangs, so that the right one is revoked
    area_id        integer REFERENCES areas (id), -- shows only this street, community or cell; null = the district
    renews         boolean NOT NULL DEFAULT true, -- in use it gets more time by itself; a lent one ends on its day
    expires_at     timestamptz NOT NULL,
    pairing_digest bytea,                         -- SHA-256 of the one-time secret in the pairing address
    pairing_until  timestamptz,
    token_digest   bytea,                         -- SHA-256 of the cookie's value; null = nobody has paired it yet
    paired_at      timestamptz,
    created_by     text NOT NULL,
    created_at     timestamptz NOT NULL DEFAULT now(),
    last_seen_at   timestamptz,                   -- to the minute
    revoked_at     timestamptz,
    revoked_by     text,
    version        integer NOT NULL DEFAULT 1,
    CONSTRAINT screens_name_given CHECK (name <> ''),
    -- A pairing address without an end would lie in somebody's chat history as a key for ever.
    CONSTRAINT screens_pairing_ends CHECK ((pairing_digest IS NULL) = (pairing_until IS NULL)),
    -- A revoked screen that could still be paired would come back.
    CONSTRAINT screens_revoked_unpairable CHECK (revoked_at IS NULL OR pairing_digest IS NULL),
    CONSTRAINT screens_revoked_by_somebody CHECK ((revoked_at IS NULL) = (revoked_by IS NULL))
);
CREATE UNIQUE INDEX screens_by_token ON screens (token_digest) WHERE token_digest IS NOT NULL;
CREATE UNIQUE INDEX screens_by_pairing ON screens (pairing_digest) WHERE pairing_digest IS NOT NULL;
