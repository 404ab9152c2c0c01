import "fake-indexeddb/auto";
import { beforeEach, describe, expect, it } from "vitest";
import { changed, conflicts, foreseen, nextStep, repeated, sendable, verdict } from "../src/field/outbox";
import { distanceWords, gcj02, mapLink, metres } from "../src/field/place";
import { flush, type Ask } from "../src/field/sending";
import { fitted } from "../src/field/shrink";
import { Store } from "../src/field/store";
import type { Draft, Entry } from "../src/field/types";

const NOON = Date.parse("2026-11-22T04:00:00Z");
const BELIEVED = { unit: "U1", reworks: 0, dispatched_at: "2026-11-22T03:00:00Z" };

function step(action: string, id = 17, more: Partial<Draft> = {}): Draft {
  return {
    kind: "incident",
    target: `incident:${id}`,
    action,
    title: `20261122-00${id}`,
    body: {},
    done_at: new Date(NOON).toISOString(),
    believed: BELIEVED,
    ...more,
  };
}

function entry(seq: number, action: string, id = 17, more: Partial<Entry> = {}): Entry {
  return { ...step(action, id), seq, key: `k${seq}`, photos: [], tries: 0, ...more };
}

/** A centre that knows sessions, keys, photos and one incident for each number. */
class FakeCentre {
  who: string | null = "zhao";
  reachable = true;
  /** Answers are lost on their way back while this is above 0. */
  losing = 0;
  asked: string[] = [];
  done: { path: string; body: unknown; key: string }[] = [];
  incident: Record<string, unknown> = { ...BELIEVED, version: 3, unit_name: "一队", unit_name_en: "Crew 1" };
  refuse = new Map<string, { status: number; body: unknown }>();

  readonly ask: Ask = async (method, path, body, headers = {}) => {
    if (!this.reachable) return { status: 0, body: null };
    this.asked.push(`${method} ${path}`);
    const answer = this.answer(method, path, body, headers);
    if (method === "POST" && this.losing > 0) {
      this.losing -= 1;
      return { status: 0, body: null };
    }
    return answer;
  };

  private answer(method: string, path: string, body: unknown, headers: Record<string, string>) {
    if (path === "/api/session") {
      return this.who ? { status: 200, body: { user: { name: this.who } } } : { status: 401, body: {} };
    }
    if (method === "GET") return { status: 200, body: this.incident };
    if (path === "/api/photos") return { status: 201, body: { photos: ["ab".repeat(32)] } };
    const key = headers["Idempotency-Key"] ?? "";
    if (this.done.some((one) => one.key === key && one.path === path)) return { status: 200, body: {} };
    const refused = this.refuse.get(path);
    if (refused) return refused;
    if (headers["If-Match"] && headers["If-Match"] !== `"${this.incident["version"]}"`) return { status: 412, body: {} };
    this.done.push({ path, body, key });
    this.incident = { ...this.incident, version: (this.incident["version"] as number) + 1 };
    return { status: 200, body: {} };
  }

  get paths(): string[] {
    return this.done.map((one) => one.path);
  }
}

const picture = { photo: { bytes: new ArrayBuffer(4), name: "a.jpg" }, item: "" };
let store: Store;
let centre: FakeCentre;
let number = 0;

beforeEach(async () => {
  store = await Store.open(`zhao-${++number}`);
  centre = new FakeCentre();
  centre.who = store.owner;
});

describe("the outbox", () => {
  it("sends in the order it was done, photos before what they belong to, and empties itself", async () => {
    await store.add(step("acknowledge"), []);
    await store.add(step("arrive"), []);
    await store.add(step("handle", 17, { body: { comment: "扑灭" } }), [picture]);
    expect(await flush(store, centre.ask)).toBe("done");
    expect(centre.paths).toEqual(["acknowledge", "arrive", "handle"].map((one) => `/api/incidents/17/${one}`));
    expect(centre.done[2]?.body).toEqual({ comment: "扑灭", photos: ["ab".repeat(32)] });
    expect(await store.waiting()).toEqual([]);
    expect((await store.sent()).map((one) => one.action)).toEqual(["handle", "arrive", "acknowledge"]);
  });

  it("keeps everything without signal, and a second tap is not a second step", async () => {
    centre.reachable = false;
    expect(await store.add(step("acknowledge"), [])).toBe(true);
    expect(await store.add(step("acknowledge"), [])).toBe(false);
    expect(await store.add(step("comment"), [])).toBe(true);
    expect(await store.add(step("comment"), [])).toBe(true);
    expect(await flush(store, centre.ask)).toBe("later");
    expect((await store.waiting()).map((one) => one.action)).toEqual(["acknowledge", "comment", "comment"]);
  });

  it("does once what was sent twice because the answer was lost", async () => {
    await store.add(step("acknowledge"), []);
    await store.add(step("comment", 17, { body: { comment: "在路上" } }), []);
    centre.losing = 1;
    expect(await flush(store, centre.ask)).toBe("later");
    expect((await store.waiting()).length).toBe(2);
    expect(await flush(store, centre.ask)).toBe("done");
    expect(centre.paths).toEqual(["/api/incidents/17/acknowledge", "/api/incidents/17/comment"]);
  });

  it("loses nothing and doubles nothing when it is killed between leaving and hearing", async () => {
    await store.add(step("handle", 17, { body: { comment: "好" } }), [picture]);
    const killed = new Error("killed");
    const dying: Ask = async (method, path, body, headers) => {
      const reply = await centre.ask(method, path, body, headers);
      if (path.endsWith("/handle")) throw killed;
      return reply;
    };
    await expect(flush(store, dying)).rejects.toBe(killed);
    store.close();
    const reopened = await Store.open(store.owner);
    expect((await reopened.waiting()).length).toBe(1);
    // Meanwhile others act, too: the same try is recognised by its key before the version is looked at.
    centre.incident = { ...centre.incident, version: 99 };
    expect(await flush(reopened, centre.ask)).toBe("done");
    expect(centre.paths).toEqual(["/api/incidents/17/handle"]);
  });

  it("puts aside what another unit got meanwhile, holds what follows it, and goes on with the rest", async () => {
    await store.add(step("arrive"), []);
    await store.add(step("handle", 17, { body: { comment: "好" } }), [picture]);
    await store.add(step("comment", 18, { body: { comment: "另一件" } }), []);
    centre.incident = { ...centre.incident, unit: "U2", unit_name: "二队", unit_lead_phone: "110" };
    expect(await flush(store, centre.ask)).toBe("done");
    expect(centre.paths).toEqual(["/api/incidents/18/comment"]);
    const [group, ...more] = conflicts(await store.waiting());
    expect(more).toEqual([]);
    expect(group?.trouble).toMatchObject({ why: "moved", zh: "二队", phone: "110" });
    expect(group?.entries.map((one) => one.action)).toEqual(["arrive", "handle"]);

    await store.instead(group?.entries ?? [], step("comment", 17, { body: { comment: "离线" } }));
    expect(await flush(store, centre.ask)).toBe("done");
    expect(centre.done[1]).toMatchObject({ path: "/api/incidents/17/comment", body: { photos: ["ab".repeat(32)] } });
  });

  it("does not close a rework with what was done before it", async () => {
    await store.add(step("handle", 17, { body: { comment: "好" } }), []);
    centre.incident = { ...centre.incident, reworks: 1 };
    await flush(store, centre.ask);
    expect(centre.paths).toEqual([]);
    expect((await store.waiting())[0]?.trouble?.why).toBe("rework");
  });

  it("looks again when somebody acted between looking and doing", async () => {
    await store.add(step("arrive"), []);
    const racing: Ask = async (method, path, body, headers) => {
      const reply = await centre.ask(method, path, body, headers);
      const first = centre.asked.filter((one) => one === "GET /api/incidents/17").length === 1;
      if (method === "GET" && path.startsWith("/api/incidents/") && first) {
        centre.incident = { ...centre.incident, version: 8 };
        return reply;
      }
      return reply;
    };
    expect(await flush(store, racing)).toBe("done");
    expect(centre.paths).toEqual(["/api/incidents/17/arrive"]);
    expect(centre.asked.filter((one) => one === "GET /api/incidents/17").length).toBe(2);
  });

  it("sends nothing of one person under the name of another, nor when nobody is logged in", async () => {
    await store.add(step("arrive"), []);
    centre.who = "wang";
    expect(await flush(store, centre.ask)).toBe("other");
    centre.who = null;
    expect(await flush(store, centre.ask)).toBe("login");
    expect(centre.asked).toEqual(["GET /api/session", "GET /api/session"]);
    const other = await Store.open("wang");
    expect(await other.waiting()).toEqual([]);
    centre.who = store.owner;
    expect(await flush(store, centre.ask)).toBe("done");
  });

  it("goes round what the centre stumbles over and tries it again later", async () => {
    await store.add(step("arrive"), []);
    await store.add(step("comment", 18, { body: { comment: "x" } }), []);
    centre.refuse.set("/api/incidents/17/arrive", { status: 500, body: {} });
    expect(await flush(store, centre.ask)).toBe("later");
    expect(centre.paths).toEqual(["/api/incidents/18/comment"]);
    centre.refuse.clear();
    expect(await flush(store, centre.ask)).toBe("done");
  });

  it("sends a check with each photo at its item, and a report as a form", async () => {
    const answers = [{ item: "lane", answer: "problem", note: "堵" }, { item: "door", answer: "ok" }];
    const check = { kind: "check", target: "point:R/P", action: "check", body: { answers } } as const;
    await store.add(step("check", 0, { ...check, body: { answers } }), [{ ...picture, item: "lane" }]);
    const report = { kind: "report", target: "report:1", body: { text: "井盖松动" } } as const;
    await store.add(step("report", 0, report), [picture]);
    expect(await flush(store, centre.ask)).toBe("done");
    expect(centre.done[0]).toMatchObject({ path: "/api/patrol/checks" });
    expect((centre.done[0]?.body as { answers: unknown }).answers).toEqual([
      { ...answers[0], photos: ["ab".repeat(32)] },
      { ...answers[1], photos: [] },
    ]);
    const form = centre.done[1]?.body as FormData;
    expect([form.get("text"), form.getAll("photo").length]).toEqual(["井盖松动", 1]);
  });

  it("does not grow for ever", async () => {
    for (let n = 0; n < 55; n++) await store.add(step("comment", n), []);
    await flush(store, centre.ask);
    expect((await store.sent()).length).toBe(50);
  });
});

describe("what an answer means", () => {
  const cases: [string, Parameters<typeof verdict>[0], number, unknown, string][] = [
    ["taken", { kind: "incident", action: "arrive" }, 200, {}, "done"],
    ["no signal", { kind: "incident", action: "arrive" }, 0, null, "later"],
    ["busy", { kind: "call", action: "arrive" }, 429, {}, "later"],
    ["down", { kind: "report", action: "report" }, 503, {}, "later"],
    ["session over", { kind: "incident", action: "arrive" }, 401, {}, "login"],
    ["password to be changed", { kind: "incident", action: "arrive" }, 403, { must_change: true }, "login"],
    ["not ours", { kind: "incident", action: "arrive" }, 403, {}, "conflict"],
    ["changed in between", { kind: "incident", action: "arrive" }, 412, {}, "stale"],
    ["a colleague acknowledged", { kind: "incident", action: "acknowledge" }, 409, { state: "arrived" }, "already"],
    ["over", { kind: "incident", action: "acknowledge" }, 409, { state: "archived" }, "conflict"],
    ["a colleague arrived", { kind: "incident", action: "arrive" }, 409, { state: "arrived" }, "conflict"],
    ["unusable", { kind: "check", action: "check" }, 422, {}, "conflict"],
  ];
  it.each(cases)("%s", (_, sent, status, body, means) => {
    expect(verdict(sent, { status, body })).toBe(means);
  });

  it("compares what the telephone believed", () => {
    expect(changed(BELIEVED, BELIEVED)).toBe(null);
    expect(changed(undefined, {})).toBe(null);
    expect(changed(BELIEVED, { ...BELIEVED, unit: null })).toBe("moved");
    expect(changed(BELIEVED, { ...BELIEVED, reworks: 2 })).toBe("rework");
    expect(changed(BELIEVED, { ...BELIEVED, dispatched_at: "2026-11-22T03:30:00Z" })).toBe("again");
  });

  it("holds back only what stands behind a trouble", () => {
    const trouble = { status: 409, zh: "", en: "", why: "refused" } as const;
    const all = [entry(3, "comment", 18), entry(2, "handle"), entry(1, "arrive", 17, { trouble })];
    expect(sendable(all).map((one) => one.seq)).toEqual([3]);
    expect(repeated(all, step("handle"))).toBe(true);
    expect(repeated(all, step("comment", 18))).toBe(false);
  });
});

describe("the next step", () => {
  it("follows what waits, as far as this person may go", () => {
    const may = ["acknowledge", "arrive", "handle", "return", "comment"];
    expect(foreseen("dispatched", [{ action: "acknowledge" }, { action: "comment" }])).toBe("acknowledged");
    expect(nextStep("dispatched", "dispatched", may)).toBe("acknowledge");
    expect(nextStep("dispatched", "acknowledged", may)).toBe("arrive");
    expect(nextStep("dispatched", "arrived", may)).toBe("handle");
    expect(nextStep("dispatched", "handled", may)).toBe(null);
    expect(nextStep("handled", "handled", ["verify", "rework"])).toBe("verify");
    expect(nextStep("dispatched", "dispatched", ["comment"])).toBe(null);
    expect(nextStep("suspended", "suspended", ["comment", "resume"])).toBe(null);
  });
});

describe("places", () => {
  const PINGSHAN = { longitude: 114.346, latitude: 22.708 };

  it("measures along the ground", () => {
    expect(metres(PINGSHAN, PINGSHAN)).toBe(0);
    expect(metres(PINGSHAN, { longitude: 114.346, latitude: 22.717 })).toBeCloseTo(1000.8, 0);
    expect([7, 348, 2412, 25_300].map(distanceWords)).toEqual(["10 m", "350 m", "2.4 km", "25 km"]);
  });

  it("prints positions as the maps of the mainland do, and leaves the rest of the world alone", () => {
    const tiananmen = gcj02({ longitude: 116.39123, latitude: 39.90736 });
    expect(tiananmen.longitude).toBeCloseTo(116.39747, 4);
    expect(tiananmen.latitude).toBeCloseTo(39.90876, 4);
    const paris = { longitude: 2.35, latitude: 48.85 };
    expect(gcj02(paris)).toEqual(paris);
  });

  it("opens a map app at the place, by name", () => {
    expect(mapLink("geo", PINGSHAN, "东街 网格1")).toBe(
      "geo:22.708000,114.346000?q=22.708000,114.346000(%E4%B8%9C%E8%A1%97%20%E7%BD%91%E6%A0%BC1)",
    );
    expect(mapLink("geo_gcj", PINGSHAN, "x")).not.toContain("22.708000");
    expect(mapLink("amap", PINGSHAN, "x")).toContain("dlat=22.708000&dlon=114.346000");
    expect(mapLink("baidu", PINGSHAN, "x")).toContain("latlng:22.708000,114.346000&coord_type=wgs84");
  });
});

it("shrinks to 1600 pixels and never enlarges", () => {
  expect(fitted(4000, 3000, 1600)).toEqual([1600, 1200]);
  expect(fitted(800, 600, 1600)).toEqual([800, 600]);
  expect(fitted(10_000, 1, 1600)).toEqual([1600, 1]);
});
