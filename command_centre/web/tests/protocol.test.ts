import { describe, expect, it } from "vitest";
import { parseFrame, ScreenState, type Frame } from "../src/screen/protocol";

const NOW = "2026-11-21T10:00:00Z";
const snap = (epoch: string, seq: number, set: Record<string, Record<string, unknown>>): Frame => ({
  t: "snap",
  epoch,
  seq,
  now: NOW,
  set,
});
const delta = (
  from: number,
  seq: number,
  set: Record<string, Record<string, unknown>> = {},
  ev: { kind: string; id: number }[] = [],
): Frame => ({ t: "d", from, seq, now: NOW, set, ev });
const hello = (epoch: string, seq: number): Frame => ({ t: "hello", epoch, seq, now: NOW });

function standing(): ScreenState {
  const state = new ScreenState();
  state.receive(hello("e1", 7));
  state.receive(snap("e1", 7, { cell: { C1: { open: 0 }, C2: { open: 1 } }, incident: { 5: { id: 5 } } }));
  return state;
}

describe("the screen's state", () => {
  it("is not ready before a snapshot", () => {
    const state = new ScreenState();
    state.receive(hello("e1", 7));
    expect(state.ready).toBe(false);
    expect(state.receive(delta(0, 1, { cell: { C1: {} } })).kind).toBe("gap");
    expect(state.topic("cell").size).toBe(0);
  });

  it("takes a snapshot whole and forgets what it lacks", () => {
    const state = standing();
    expect([...state.topic("cell").keys()]).toEqual(["C1", "C2"]);
    const outcome = state.receive(snap("e2", 3, { cell: { C9: { open: 2 } } }));
    expect(outcome).toEqual({ kind: "applied", changes: null, events: [] });
    expect([...state.topic("cell").keys()]).toEqual(["C9"]);
    expect(state.topic("incident").size).toBe(0);
    expect([state.epoch, state.seq]).toEqual(["e2", 3]);
  });

  it("applies a delta that starts where it stands and names the changed keys", () => {
    const state = standing();
    const outcome = state.receive(delta(7, 8, { cell: { C1: { open: 4 } } }, [{ kind: "alarm.raised", id: 1 }]));
    if (outcome.kind !== "applied") throw new Error(outcome.kind);
    expect([...(outcome.changes?.get("cell") ?? [])]).toEqual(["C1"]);
    expect(outcome.events).toEqual([{ kind: "alarm.raised", id: 1 }]);
    expect(state.topic("cell").get("C1")).toEqual({ open: 4 });
    expect(state.topic("cell").get("C2")).toEqual({ open: 1 });
    expect(state.seq).toBe(8);
  });

  it("removes a key that is null", () => {
    const state = standing();
    state.receive(delta(7, 8, { incident: { 5: null } }));
    expect(state.topic("incident").size).toBe(0);
  });

  it("takes the empty heartbeat without moving", () => {
    const state = standing();
    expect(state.receive(delta(7, 7)).kind).toBe("applied");
    expect(state.seq).toBe(7);
  });

  it("shows nothing of an old delta again", () => {
    const state = standing();
    state.receive(delta(7, 8, { cell: { C1: { open: 4 } } }, [{ kind: "alarm.raised", id: 1 }]));
    const again = state.receive(delta(7, 8, { cell: { C1: { open: 9 } } }, [{ kind: "alarm.raised", id: 1 }]));
    expect(again).toEqual({ kind: "duplicate" });
    expect(state.topic("cell").get("C1")).toEqual({ open: 4 });
  });

  it("reports a gap and a half-known delta without touching the state", () => {
    const state = standing();
    expect(state.receive(delta(9, 10, { cell: { C1: { open: 9 } } }))).toEqual({
      kind: "gap",
      expected: 7,
      from: 9,
    });
    expect(state.receive(delta(6, 9, { cell: { C1: { open: 9 } } })).kind).toBe("gap");
    expect(state.topic("cell").get("C1")).toEqual({ open: 0 });
    expect(state.seq).toBe(7);
  });

  it("resumes within the same epoch with one merged delta", () => {
    const state = standing();
    state.receive(hello("e1", 30));
    const outcome = state.receive(delta(7, 30, { cell: { C2: null } }, [{ kind: "incident.opened", id: 2 }]));
    expect(outcome.kind).toBe("applied");
    expect(state.seq).toBe(30);
    expect(state.topic("cell").has("C2")).toBe(false);
  });

  it("takes no delta of another epoch before its snapshot", () => {
    const state = standing();
    state.receive(hello("e2", 7));
    expect(state.receive(delta(7, 8, { cell: { C1: { open: 9 } } })).kind).toBe("gap");
    expect(state.topic("cell").get("C1")).toEqual({ open: 0 });
    state.receive(snap("e2", 8, {}));
    expect(state.topic("cell").size).toBe(0);
  });

  it("asks for a snapshot after it has forgotten, and keeps showing until then", () => {
    const state = standing();
    state.forget();
    expect(state.ready).toBe(false);
    expect(state.topic("cell").size).toBe(2);
  });
});

describe("a frame", () => {
  it.each(["", "[]", '{"t":"x","seq":1}', '{"t":"d"}', '{"t":"d","seq":"1"}'])("is refused: %s", (text) => {
    expect(() => parseFrame(text)).toThrow();
  });
});
