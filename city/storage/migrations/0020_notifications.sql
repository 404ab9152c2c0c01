-- Who is told by which way, what waits for the morning, one digest instead of a storm; and heads of the chains,
-- written down where whoever rewrites a whole chain does not think of them.

-- ── how units and people are reached ──────────────────────────────────────────────────────────────────
-- Beside a unit's own webhook_url, email and lead_email, which the district's files give it.
CREATE TABLE contacts (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    unit_id    integer REFERENCES units (id),
    user_id    integer REFERENCES users (id),
    channel    text NOT NULL CONSTRAINT contacts_channel_known CHECK (channel IN ('webhook', 'smtp', 'apprise')),
    address    text NOT NULL,                     -- holds passwords and tokens: shown masked, never logged
    secret     text NOT NULL DEFAULT '',          -- a webhook is signed with it; made when it is first needed
    label      text NOT NULL DEFAULT '',
    language   text NOT NULL DEFAULT 'zh' CONSTRAINT contacts_language_known CHECK (language IN ('zh', 'en')),
    lead       boolean NOT NULL DEFAULT false,    -- gets what goes to the unit's lead, and nothing else
    active     boolean NOT NULL DEFAULT true,
    purposes   text[] NOT NULL DEFAULT '{}',      -- empty = all
    quiet      text NOT NULL DEFAULT '',          -- 22:00-07:00, local; empty = none
    digest     boolean NOT NULL DEFAULT true,     -- many at once become one
    removed_at timestamptz,                       -- what was sent by it still names it
    -- An address of nobody, or of two, could not be asked whose wishes hold.
    CONSTRAINT contacts_of_one CHECK (num_nonnulls(unit_id, user_id) = 1),
    CONSTRAINT contacts_address_given CHECK (address <> '')
);
CREATE INDEX contacts_of_unit ON contacts (unit_id) WHERE removed_at IS NULL AND unit_id IS NOT NULL;
CREATE INDEX contacts_of_user ON contacts (user_id) WHERE removed_at IS NULL AND user_id IS NOT NULL;

-- ── messages ──────────────────────────────────────────────────────────────────────────────────────────
ALTER TABLE notifications DROP CONSTRAINT notifications_purpose_known;
ALTER TABLE notifications DROP CONSTRAINT notifications_channel_known;
ALTER TABLE notifications DROP CONSTRAINT notifications_state_known;
ALTER TABLE notifications
    ALTER COLUMN incident_id DROP NOT NULL,       -- a digest has many, a test and an anchor none
    ALTER COLUMN unit_id DROP NOT NULL,           -- a citizen, an approver and another system are no unit
    ADD COLUMN contact_id bigint REFERENCES contacts (id),
    ADD COLUMN report_id bigint,                  -- of a notice to a citizen
    ADD COLUMN address text NOT NULL DEFAULT '',  -- of a notice; emptied when it was sent
    ADD COLUMN language text NOT NULL DEFAULT 'both'
        CONSTRAINT notifications_language_known CHECK (language IN ('both', 'zh', 'en')),
    ADD COLUMN urgent boolean NOT NULL DEFAULT false, -- class A, or event level 1 and 2: at once, singly
    ADD COLUMN fold boolean NOT NULL DEFAULT false,   -- may go with others in one digest
    ADD COLUMN held boolean NOT NULL DEFAULT false,   -- waits for the end of quiet hours
    ADD COLUMN folded_into bigint REFERENCES notifications (id),
    ADD COLUMN began_at timestamptz NOT NULL DEFAULT now(), -- it is given up an hour after this, not after the night
    ADD COLUMN attempted_at timestamptz,
    ADD COLUMN receiver text GENERATED ALWAYS AS (
        CASE WHEN contact_id IS NOT NULL THEN 'contact:' || contact_id::text
             WHEN unit_id IS NOT NULL THEN
                'unit:' || unit_id::text || ':' || channel || CASE WHEN to_lead THEN ':lead' ELSE '' END
             ELSE 'address:' || md5(address) END) STORED,
    ADD CONSTRAINT notifications_purpose_known CHECK (purpose IN ('order', 'again', 'urge', 'overdue', 'remind',
        'co_order', 'asked', 'decided', 'supervise', 'notice', 'digest', 'test', 'anchor')),
    ADD CONSTRAINT notifications_channel_known CHECK (channel IN ('webhook', 'smtp', 'apprise', 'sms')),
    ADD CONSTRAINT notifications_state_known CHECK (state IN (
        'waiting',                                -- to be sent at next_attempt_at
        'folded',                                 -- goes with the digest named in folded_into
        'sent',                                   -- the channel's receipt is in `receipt`
        'failed')),                               -- given up; the timeline says so
    -- An order that belongs to a digest and is also sent by itself arrives twice.
    ADD CONSTRAINT notifications_folded_names_digest CHECK (state <> 'folded' OR folded_into IS NOT NULL),
    ADD CONSTRAINT notifications_class_a_never_held CHECK (NOT (urgent AND (held OR fold OR folded_into IS NOT NULL))),
    ADD CONSTRAINT notifications_of_an_incident CHECK (
        incident_id IS NOT NULL OR purpose IN ('notice', 'digest', 'test', 'anchor'));
UPDATE notifications SET began_at = created_at;
CREATE INDEX notifications_folded ON notifications (folded_into) WHERE folded_into IS NOT NULL;
CREATE INDEX notifications_storm ON notifications (attempted_at, receiver) WHERE fold OR purpose = 'digest';
CREATE INDEX notifications_failed ON notifications (id) WHERE state = 'failed';
CREATE INDEX notifications_by_time ON notifications (created_at);

-- ── anchors ───────────────────────────────────────────────────────────────────────────────────────────
-- Once an hour one digest over every head that moved. It also goes into a file and, where told to, to another
-- machine: a chain that was rewritten from its first event on agrees with itself, and not with these.
CREATE TABLE anchors (
    id       bigint PRIMARY KEY,                  -- 1, 2, 3 …: a missing one is seen
    at       timestamptz NOT NULL,
    heads    integer NOT NULL,
    previous bytea NOT NULL,
    digest   bytea NOT NULL
);
CREATE TABLE anchored_heads (
    incident_id bigint NOT NULL,                  -- no foreign key: an incident that is gone is to be missed
    seq         integer NOT NULL,
    head        bytea NOT NULL,
    anchor_id   bigint NOT NULL REFERENCES anchors (id),
    PRIMARY KEY (incident_id, seq)
);
CREATE INDEX anchored_heads_of ON anchored_heads (anchor_id, incident_id);
CREATE TRIGGER anchors_append_only BEFORE UPDATE OR DELETE ON anchors
    FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER anchored_heads_append_only BEFORE UPDATE OR DELETE ON anchored_heads
    FOR EACH ROW EXECUTE FUNCTION refuse_change();
