-- Who calls, by which way, and how far they reach: three ways in (a person's session, a token, a paired screen), one
-- reach (an area and what lies in it, a department). New facts stand in tables of their own: a process of the release
-- before reads every column of `users` and would stumble over one more.

-- ── people ────────────────────────────────────────────────────────────────────────────────────────────
ALTER TABLE users DROP CONSTRAINT users_role_known;
ALTER TABLE users ADD CONSTRAINT users_role_known CHECK (role IN (
    'viewer', 'handler', 'grid_worker', 'hotline', 'dispatcher', 'supervisor', 'administrator',
    'flood_officer',                              -- 三防值班: what a dispatcher may, and the response to floods
    'integrator'));                               -- another system's: looks, and files through its own ways in

-- An account without a row reaches the whole district. By code, since ground is cut anew and keeps its codes.
CREATE TABLE user_scopes (
    user_id integer PRIMARY KEY REFERENCES users (id) ON DELETE CASCADE,
    scope   text NOT NULL CONSTRAINT user_scopes_given CHECK (scope <> '')
);

-- Second factors by time (RFC 6238). The secret is sealed by the centre's data key, never plain.
CREATE TABLE second_factors (
    user_id      integer PRIMARY KEY REFERENCES users (id) ON DELETE CASCADE,
    secret       bytea NOT NULL,
    confirmed_at timestamptz,                     -- null = begun; it guards nothing until a first code was right
    last_step    bigint NOT NULL DEFAULT 0,       -- a code serves once
    created_at   timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE recovery_codes (
    digest  bytea PRIMARY KEY,                    -- SHA-256
    user_id integer NOT NULL REFERENCES users (id) ON DELETE CASCADE
);
CREATE INDEX recovery_codes_by_user ON recovery_codes (user_id);

-- The same person at the city's identity provider (OpenID Connect): one account for one subject, and the reverse.
CREATE TABLE user_identities (
    issuer  text NOT NULL,
    subject text NOT NULL,
    user_id integer NOT NULL UNIQUE REFERENCES users (id) ON DELETE CASCADE,
    PRIMARY KEY (issuer, subject)
);

-- ── programs ──────────────────────────────────────────────────────────────────────────────────────────
CREATE TABLE api_tokens (
    id           integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name         text NOT NULL CONSTRAINT api_tokens_name_given CHECK (name <> ''),
    digest       bytea NOT NULL UNIQUE,           -- SHA-256 of the token
    role         text NOT NULL CONSTRAINT api_tokens_role_known CHECK (role IN (
        'viewer', 'handler', 'grid_worker', 'hotline', 'dispatcher', 'supervisor', 'administrator',
        'flood_officer', 'integrator')),
    only_reads   boolean NOT NULL DEFAULT true,
    scope        text,                            -- an area's code; null = the whole district
    unit_id      integer REFERENCES units (id),
    created_by   text NOT NULL,
    created_at   timestamptz NOT NULL DEFAULT now(),
    expires_at   timestamptz NOT NULL,            -- a token without an end outlives whoever asked for it
    revoked_at   timestamptz,
    revoked_by   text,
    last_used_at timestamptz,                     -- to the minute
    CONSTRAINT api_tokens_end_after_begin CHECK (expires_at > created_at),
    CONSTRAINT api_tokens_handler_has_unit CHECK (role <> 'handler' OR unit_id IS NOT NULL),
    CONSTRAINT api_tokens_revoked_by_somebody CHECK ((revoked_at IS NULL) = (revoked_by IS NULL))
);

-- ── how far ───────────────────────────────────────────────────────────────────────────────────────────
-- Every area, of today and of before, that lies within the area of this code; none for a code that was never used.
CREATE FUNCTION areas_within(wanted text) RETURNS SETOF integer
LANGUAGE sql STABLE PARALLEL SAFE ROWS 1000 AS $$
    WITH RECURSIVE below AS (
        SELECT id FROM areas WHERE code = wanted
        UNION
        SELECT a.id FROM areas a JOIN below b ON a.parent_id = b.id
    )
    SELECT id FROM below
$$;
