-- Sessions that say where they are used, tries that are counted where they come from, and how an account came about.

ALTER TABLE sessions
    ADD COLUMN id integer GENERATED ALWAYS AS IDENTITY UNIQUE, -- how a person names it to end it
    ADD COLUMN idle_s integer NOT NULL DEFAULT 43200           -- unused for so long it is over; as set when it began
        CONSTRAINT sessions_idle_positive CHECK (idle_s > 0),
    ADD COLUMN proven_at timestamptz NOT NULL DEFAULT now(),   -- password or second factor were last shown
    ADD COLUMN second_factor boolean NOT NULL DEFAULT false,   -- a second one was shown, here or at the provider
    ADD COLUMN provider text,                                  -- issuer that vouches for it; null = our own password
    ADD COLUMN address text NOT NULL DEFAULT '',               -- for the person's own list only
    ADD COLUMN browser text NOT NULL DEFAULT '';
CREATE INDEX sessions_by_user ON sessions (user_id);

-- Wrong passwords and codes, counted where they come from: who guesses pauses themselves, not the person whose name
-- they use. Keys are digests, since people type passwords into the field of the name; unknown names count alike.
CREATE TABLE log_in_tries (
    key          bytea PRIMARY KEY,               -- SHA-256 of what is counted: device, name and address, name, address
    of_name      bytea,                           -- digest of the name it is about: a reset ends all its pauses
    failed_count integer NOT NULL DEFAULT 0,
    locked_until timestamptz,
    last_at      timestamptz NOT NULL
);
CREATE INDEX log_in_tries_by_name ON log_in_tries (of_name);
CREATE INDEX log_in_tries_by_age ON log_in_tries (last_at);

-- A browser in which somebody logged in before: guessing elsewhere does not pause it.
CREATE TABLE known_devices (
    digest  bytea PRIMARY KEY,                    -- SHA-256 of its cookie
    user_id integer NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    seen_at timestamptz NOT NULL
);
CREATE INDEX known_devices_by_user ON known_devices (user_id);

-- Made by a log-in at the provider: its claims decide role and reach each time. Else an administrator does.
ALTER TABLE user_identities
    ADD COLUMN managed boolean NOT NULL DEFAULT false,
    ADD COLUMN linked_at timestamptz NOT NULL DEFAULT now();
