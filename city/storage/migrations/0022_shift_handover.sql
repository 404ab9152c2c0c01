-- depends: 0020_notifications
-- What one shift leaves to the next, said once and taken over by somebody else; and alarms by the time people saw them.

CREATE TABLE handovers (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    began_at   timestamptz NOT NULL,               -- the note tells from here: when the shift before wrote its own
    written_at timestamptz NOT NULL,
    written_by text NOT NULL,
    notes      text NOT NULL CONSTRAINT handovers_notes_short CHECK (length(notes) <= 8000),
    figures    jsonb NOT NULL,                     -- how things stood at written_at; never computed again
    taken_at   timestamptz,
    taken_by   text,
    taken_note text NOT NULL DEFAULT '',
    withdrawn_at timestamptz,                      -- by its writer, before anybody took it
    CONSTRAINT handovers_of_a_time CHECK (written_at > began_at),
    CONSTRAINT handovers_taken_by_somebody CHECK ((taken_at IS NULL) = (taken_by IS NULL)),
    CONSTRAINT handovers_taken_later CHECK (taken_at >= written_at),
    -- A shift that hands over to itself has told nobody.
    CONSTRAINT handovers_not_to_oneself CHECK (taken_by <> written_by),
    CONSTRAINT handovers_taken_or_withdrawn CHECK (taken_at IS NULL OR withdrawn_at IS NULL)
);
-- Two notes that wait would each be half of the truth.
CREATE UNIQUE INDEX handovers_one_waits ON handovers ((true)) WHERE taken_at IS NULL AND withdrawn_at IS NULL;
CREATE INDEX handovers_newest ON handovers (written_at DESC, id DESC);

CREATE FUNCTION handover_said_once() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF (OLD.began_at, OLD.written_at, OLD.written_by, OLD.notes, OLD.figures)
       IS DISTINCT FROM (NEW.began_at, NEW.written_at, NEW.written_by, NEW.notes, NEW.figures) THEN
        RAISE EXCEPTION 'a handover is not changed after it was written' USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER handovers_said_once BEFORE UPDATE ON handovers FOR EACH ROW EXECUTE FUNCTION handover_said_once();

-- The report on alarms counts by when an alarm reached people, which for late data is not when it was raised.
CREATE INDEX alarms_by_record ON alarms (recorded_at);
