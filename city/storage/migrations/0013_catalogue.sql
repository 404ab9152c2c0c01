-- The catalogue as people keep it, and the public facilities with their codes.

-- ── categories ────────────────────────────────────────────────────────────────────────────────────────
ALTER TABLE categories
    ADD COLUMN origin text NOT NULL DEFAULT 'district' CONSTRAINT categories_origin_known CHECK (origin IN (
        'built-in',                               -- came with the product; the next release may change it
        'district',                               -- a line of the district's own folder, which may take it back
        'catalogue')),                            -- imported or retired by a person: no release and no folder undoes that
    -- A fourth level has no place in any list, and a place in the tree that is not its code's own makes circles.
    -- Lines of before are left as they are.
    ADD CONSTRAINT categories_three_levels CHECK (code ~ '^[a-z0-9_]+(\.[a-z0-9_]+){0,2}$') NOT VALID,
    ADD CONSTRAINT categories_parent_holds_it CHECK (starts_with(code, parent || '.')) NOT VALID;
CREATE INDEX incidents_open_by_category ON incidents (category) WHERE closed_at IS NULL;

-- ── public facilities (部件) ──────────────────────────────────────────────────────────────────────────
-- How this district writes codes: {"component": [{"name", "segments": [{"name", "length", "digits"}]}], "cell": …}.
ALTER TABLE district ADD COLUMN code_forms jsonb NOT NULL DEFAULT '{}'
    CONSTRAINT district_code_forms_is_table CHECK (jsonb_typeof(code_forms) = 'object');

CREATE TABLE components (
    -- Text, never a number: provinces write 16, 18 or 19 places, many with zeros in front.
    code            text PRIMARY KEY CONSTRAINT components_code_fits CHECK (length(code) BETWEEN 1 AND 64),
    kind            text NOT NULL,                -- manhole cover, street light, in the district's own words
    category        text,                         -- what a report about it is, where the kind alone tells
    name            text NOT NULL DEFAULT '',
    owner_unit      text NOT NULL DEFAULT '',     -- 权属
    maintainer_unit text NOT NULL DEFAULT '',     -- 养护
    cell_id         integer REFERENCES areas (id),
    address         text NOT NULL DEFAULT '',
    longitude       double precision,
    latitude        double precision,
    state           text NOT NULL DEFAULT 'in_use' CONSTRAINT components_state_known CHECK (state IN (
        'in_use',
        'under_repair',
        'out_of_use',                             -- still there
        'removed')),                              -- no longer there, or no longer listed; its code is never given again
    -- Half a position is a place in the sea.
    CONSTRAINT components_position_whole CHECK ((longitude IS NULL) = (latitude IS NULL)),
    CONSTRAINT components_position_on_earth CHECK (longitude BETWEEN -180 AND 180 AND latitude BETWEEN -90 AND 90)
);
CREATE INDEX components_by_cell ON components (cell_id, code);
