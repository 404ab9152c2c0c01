import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { CentreClock } from "../src/screen/clock";
import { retryDelay, ScreenConnection, screenUrl } from "../src/screen/connection";
import { ScreenState } from "../src/screen/protocol";
import type { ScreenEvent } from "../src/screen/topics";

const NOW = "2026-11-21T10:00:00Z";

describe("the clock", () => {
  it("carries the centre's time on and tells when it has become stale", () => {
    const clock = new CentreClock();
    expect(clock.now(0)).toBeNull();
    expect(clock.stale(0)).toBe(true);
    clock.hear(NOW, 1000);
    expect(clock.now(3500)).toBe(Date.parse(NOW) + 2500);
    expect(clock.stale(1000 + 4100)).toBe(false);
    expect(clock.stale(1000 + 4300)).toBe(true);
    expect(clock.lastHeard).toBe(Date.parse(NOW));
  });

  it("keeps its time when a frame carries none it can read, but has heard it", () => {
    const clock = new CentreClock();
    clock.hear(NOW, 0);
    clock.hear("nonsense", 4000);
    expect(clock.stale(8000)).toBe(false);
    expect(clock.lastHeard).toBe(Date.parse(NOW));
  });
});

describe("the address", () => {
  it("asks for everything first and for the rest afterwards", () => {
    const state = new ScreenState();
    expect(screenUrl("https://centre/wall?lang=en", state)).toBe("wss://centre/ws/screen");
    state.receive({ t: "hello", epoch: "e", seq: 4, now: NOW });
    state.receive({ t: "snap", epoch: "e", seq: 4, now: NOW, set: {} });
    expect(screenUrl("http://centre:8000/", state)).toBe("ws://centre:8000/ws/screen?epoch=e&since=4");
  });
});

describe("the wait before connecting again", () => {
  it("doubles, is spread, and never passes what keeps the resync under two seconds", () => {
    expect(retryDelay(0, 0)).toBe(150);
    expect(retryDelay(0, 1)).toBe(300);
    expect(retryDelay(1, 1)).toBe(600);
    expect(retryDelay(20, 1)).toBe(1500);
    expect(retryDelay(20, 0)).toBe(750);
  });
});

class FakeSocket {
  static made: FakeSocket[] = [];
  sent: unknown[] = [];
  closed = false;
  onmessage: ((message: { data: string }) => void) | null = null;
  onclose: (() => void) | null = null;
  constructor(readonly url: string) {
    FakeSocket.made.push(this);
  }
  send(text: string): void {
    this.sent.push(JSON.parse(text));
  }
  close(): void {
    this.closed = true;
    this.onclose?.();
  }
  say(frame: object): void {
    this.onmessage?.({ data: JSON.stringify({ now: NOW, ...frame }) });
  }
}

const newest = () => FakeSocket.made.at(-1) as FakeSocket;

describe("the connection", () => {
  let seen: ScreenEvent[];
  let connection: ScreenConnection;

  beforeEach(() => {
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "performance"] });
    vi.stubGlobal("WebSocket", FakeSocket);
    vi.spyOn(console, "warn").mockImplementation(() => undefined);
    vi.spyOn(console, "error").mockImplementation(() => undefined);
    FakeSocket.made = [];
    seen = [];
    connection = new ScreenConnection("http://centre/", {
      changed: (_, events) => seen.push(...events),
    });
    connection.open();
    newest().say({ t: "hello", epoch: "e", seq: 4 });
    newest().say({ t: "snap", epoch: "e", seq: 4, set: {} });
  });
  afterEach(() => {
    connection.close();
    vi.useRealTimers();
    vi.unstubAllGlobals();
    vi.restoreAllMocks();
  });

  it("acknowledges what it applied, and a repeated delta too, but shows that once", () => {
    const event = { kind: "alarm.raised", id: 1 };
    newest().say({ t: "d", from: 4, seq: 5, set: {}, ev: [event] });
    newest().say({ t: "d", from: 4, seq: 5, set: {}, ev: [event] });
    expect(newest().sent).toEqual([4, 5, 5].map((seq) => ({ t: "ack", seq })));
    expect(seen).toEqual([event]);
  });

  it("resumes where it stood after the socket is lost", () => {
    newest().say({ t: "d", from: 4, seq: 9, set: {}, ev: [] });
    newest().close();
    vi.advanceTimersByTime(1500);
    expect(FakeSocket.made).toHaveLength(2);
    expect(newest().url).toBe("ws://centre/ws/screen?epoch=e&since=9");
  });

  it("closes a gap by resuming, and asks for everything when that leads nowhere", () => {
    newest().say({ t: "d", from: 8, seq: 9, set: {}, ev: [] });
    expect(newest().closed).toBe(true);
    vi.advanceTimersByTime(1500);
    expect(newest().url).toContain("since=4");
    newest().say({ t: "hello", epoch: "e", seq: 9 });
    newest().say({ t: "d", from: 8, seq: 9, set: {}, ev: [] });
    vi.advanceTimersByTime(1500);
    expect(newest().url).toBe("ws://centre/ws/screen");
  });

  it("hears nothing more from a socket it has given up", () => {
    const old = newest();
    old.close();
    vi.advanceTimersByTime(1500);
    old.say({ t: "d", from: 4, seq: 5, set: {}, ev: [{ kind: "alarm.raised", id: 1 }] });
    expect(seen).toEqual([]);
    expect(connection.state.seq).toBe(4);
  });

  it("gives up a socket that has gone quiet, since a dead peer closes nothing", () => {
    vi.advanceTimersByTime(5900);
    connection.watch();
    expect(newest().closed).toBe(false);
    vi.advanceTimersByTime(200);
    connection.watch();
    expect(newest().closed).toBe(true);
    vi.advanceTimersByTime(1500);
    expect(FakeSocket.made).toHaveLength(2);
  });

  it("connects again after a frame it cannot read", () => {
    newest().onmessage?.({ data: "{" });
    vi.advanceTimersByTime(1500);
    expect(newest().url).toContain("since=4");
  });
});
