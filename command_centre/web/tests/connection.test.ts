import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { CentreClock } from "../src/screen/clock";
import { retryDelay, ScreenConnection, screenUrl } from "../src/screen/connection";
import { Renewal, secretIn } from "../src/screen/pairing";
import { ScreenState } from "../src/screen/protocol";
import type { ScreenEvent } from "../src/screen/topics";

const NOW = "2026-11-21T10:00:00Z";

describe("the clock", () => {
  it("goes by the centre's time on a machine whose own clock is wrong by a day", () => {
    vi.useFakeTimers({ toFake: ["Date"] });
    vi.setSystemTime(Date.parse(NOW) + 86_400_000);
    const clock = new CentreClock();
    clock.hear(NOW, 1000);
    vi.setSystemTime(Date.parse(NOW) - 86_400_000); // and somebody sets it back meanwhile
    expect(clock.now(3000)).toBe(Date.parse(NOW) + 2000);
    expect(clock.stale(3000)).toBe(false);
    vi.useRealTimers();
  });

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

  it("names scope, further topics and that it is staff", () => {
    const wish = { scope: "街道 1", also: ["alarm" as const], staff: true };
    const url = new URL(screenUrl("http://centre/desk", new ScreenState(), wish));
    expect(Object.fromEntries(url.searchParams)).toEqual({
      as: "staff",
      scope: "街道 1",
      topics: "district,cell,incident,counts,drill,station,online,health,alarm",
    });
  });
});

describe("a pairing address", () => {
  it("is read from the fragment, which no server sees", () => {
    expect(secretIn(`#pair=${"a".repeat(43)}`)).toBe("a".repeat(43));
    expect(secretIn("#pair=short")).toBeNull();
    expect(secretIn("")).toBeNull();
  });

  it("is followed by renewals every six hours", () => {
    const renewal = new Renewal();
    expect(renewal.due(0)).toBe(true);
    expect(renewal.due(3600_000)).toBe(false);
    expect(renewal.due(6 * 3600_000)).toBe(true);
  });
});

describe("the wait before connecting again", () => {
  it("doubles, is spread, and for a minute never passes what keeps the resync under two seconds", () => {
    expect(retryDelay(0, 0)).toBe(150);
    expect(retryDelay(0, 1)).toBe(300);
    expect(retryDelay(1, 1)).toBe(600);
    expect(retryDelay(20, 1)).toBe(1500);
    expect(retryDelay(20, 0)).toBe(750);
    const minute = Array.from({ length: 60 }, (_, attempt) => retryDelay(attempt, 0.5));
    expect(Math.max(...minute)).toBeLessThanOrEqual(1500);
    expect(minute.reduce((sum, wait) => sum + wait)).toBeGreaterThan(60_000);
  });

  it("grows to ten seconds for a server that is gone for an hour, and no further", () => {
    expect(retryDelay(60, 1)).toBe(3000);
    expect(retryDelay(1000, 1)).toBe(10_000);
    expect(retryDelay(1000, 0)).toBe(5000);
  });

  it("spreads fifty screens that lost the server together", () => {
    const waits = Array.from({ length: 50 }, (_, n) => retryDelay(3, n / 49));
    expect(Math.max(...waits) - Math.min(...waits)).toBe(750);
  });
});

class FakeSocket {
  static made: FakeSocket[] = [];
  sent: unknown[] = [];
  closed = false;
  onmessage: ((message: { data: string }) => void) | null = null;
  onclose: ((event: { code: number }) => void) | null = null;
  constructor(readonly url: string) {
    FakeSocket.made.push(this);
  }
  send(text: string): void {
    this.sent.push(JSON.parse(text));
  }
  close(code = 1006): void {
    this.closed = true;
    this.onclose?.({ code });
  }
  say(frame: object): void {
    this.onmessage?.({ data: JSON.stringify({ now: NOW, ...frame }) });
  }
}

const newest = () => FakeSocket.made.at(-1) as FakeSocket;

describe("the connection", () => {
  let seen: ScreenEvent[];
  let connection: ScreenConnection;
  let refused: (string | null)[];

  beforeEach(() => {
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "performance"] });
    vi.stubGlobal("WebSocket", FakeSocket);
    vi.spyOn(console, "warn").mockImplementation(() => undefined);
    vi.spyOn(console, "error").mockImplementation(() => undefined);
    FakeSocket.made = [];
    seen = [];
    refused = [];
    connection = new ScreenConnection("http://centre/", {
      changed: (_, events) => seen.push(...events),
      refused: (why) => refused.push(why),
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

  it("is whole again with the first connection after an hour without a server", () => {
    for (let tries = 0; tries < 400; tries += 1) {
      newest().close();
      vi.advanceTimersByTime(10_000);
    }
    newest().say({ t: "hello", epoch: "f", seq: 2 });
    newest().say({ t: "snap", epoch: "f", seq: 2, set: { cell: { C1: {} } } });
    expect(connection.state.topic("cell").size).toBe(1);
    newest().close();
    vi.advanceTimersByTime(300); // the next loss is a new one: tried again at once
    expect(newest().closed).toBe(false);
  });

  it.each([
    [4401, "session"],
    [4403, "unpaired"],
    [4404, "scope"],
    [4410, "expired"],
    [4411, "revoked"],
    [4503, "full"],
  ])("says why it is sent away with %i, keeps what it shows, and asks again later", (code, why) => {
    newest().close(code);
    expect(refused).toEqual([null, why]);
    expect(connection.state.seq).toBe(4);
    vi.advanceTimersByTime(7400);
    expect(FakeSocket.made).toHaveLength(1);
    vi.advanceTimersByTime(7700);
    expect(newest().url).toContain("since=4");
    newest().say({ t: "d", from: 4, seq: 4 });
    expect(refused.at(-1)).toBeNull();
  });

  it("names the last change it saw, so that another centre tells what happened since, once", () => {
    const raised = (change: number) => ({ kind: "alarm.raised", id: change, change });
    newest().say({ t: "d", from: 4, seq: 5, change: 70, ev: [raised(70), raised(72)] });
    newest().close();
    vi.advanceTimersByTime(1500);
    expect(newest().url).toBe("ws://centre/ws/screen?epoch=e&since=5&change=70");
    newest().say({ t: "hello", epoch: "other", seq: 9 });
    newest().say({ t: "snap", epoch: "other", seq: 9, change: 72, set: {}, ev: [71, 72].map(raised) });
    newest().say({ t: "d", from: 9, seq: 10, change: 73, ev: [70, 72, 73].map(raised) });
    expect(seen.map(({ id }) => id)).toEqual([70, 72, 71, 73]);
  });

  it("believes the numbers of another database when it is told so", () => {
    newest().say({ t: "d", from: 4, seq: 5, change: 70, ev: [] });
    newest().say({ t: "hello", epoch: "other", seq: 1 });
    newest().say({ t: "snap", epoch: "other", seq: 1, change: 3, set: {}, ev: [], reset: true });
    newest().say({ t: "d", from: 1, seq: 2, change: 4, ev: [{ kind: "alarm.raised", id: 1, change: 4 }] });
    expect(seen).toHaveLength(1);
  });

  it("connects again after a frame it cannot read", () => {
    newest().onmessage?.({ data: "{" });
    vi.advanceTimersByTime(1500);
    expect(newest().url).toContain("since=4");
  });
});
