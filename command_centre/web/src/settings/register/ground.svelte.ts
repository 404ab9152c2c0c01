/** What a person has drawn and not yet saved: areas and devices as they are to be, tried at the centre as one goes. */
import { Problem } from "../../http";
import { session } from "../../staff/session.svelte";
import { register, type AreaEntry, type GroundPreview } from "./api";
import { keyed, put, without as dropped } from "./maps";
import { cornerAt, corners, cornersOn, geometryOf, moved, outlineOf, split, without, type Outline, type Place, type Point } from "./outline";

export interface AreaDraft {
  layer: string;
  code: string;
  name: string;
  name_en: string;
  parent: string;
  outline: Outline;
  ended: boolean;
  /** Null: it is new. */
  version: number | null;
}
export interface DeviceDraft {
  code: string;
  version: number;
  lon: number;
  lat: number;
}

export const keyOf = (area: { layer: string; code: string }) => `${area.layer} ${area.code}`;
const TRY_AFTER_MS = 350;

export class GroundDraft {
  entries = $state.raw<readonly AreaEntry[]>([]);
  areas = $state.raw<ReadonlyMap<string, AreaDraft>>(keyed());
  devices = $state.raw<ReadonlyMap<string, DeviceDraft>>(keyed());
  preview = $state.raw<GroundPreview | null>(null);
  problem = $state("");
  busy = $state(false);
  /** Corners that lie on each other move as one. */
  together = $state(true);
  private known = $state.raw<ReadonlyMap<string, AreaEntry>>(keyed());
  private timer: ReturnType<typeof setTimeout> | undefined;
  private asked = 0;

  async load(): Promise<void> {
    this.entries = (await register.areas()).items;
    this.known = keyed(this.entries.map((one) => [keyOf(one), one] as const));
  }

  get dirty(): boolean {
    return this.areas.size > 0 || this.devices.size > 0;
  }

  entry(key: string): AreaEntry | undefined {
    return this.known.get(key);
  }

  /** The area as it is to be: its draft, or what stands. */
  area(key: string): AreaDraft | null {
    const draft = this.areas.get(key);
    if (draft) return draft;
    const entry = this.known.get(key);
    if (!entry) return null;
    const { layer, code, name, name_en, version } = entry;
    const outline = outlineOf(entry.geometry);
    return { layer, code, name, name_en, parent: entry.parent ?? "", outline, ended: false, version };
  }

  put(area: AreaDraft): void {
    this.areas = put(this.areas, keyOf(area), area);
    this.later();
  }

  drop(key: string): void {
    this.areas = dropped(this.areas, key);
    this.later();
  }

  moveDevice(device: DeviceDraft): void {
    this.devices = put(this.devices, device.code, device);
    this.later();
  }

  clear(): void {
    [this.areas, this.devices, this.preview, this.problem] = [keyed(), keyed(), null, ""];
    clearTimeout(this.timer);
    this.asked += 1;
  }

  /** Moves a corner, and with it those of other areas of the layer that lie on it. */
  moveCorner(key: string, place: Place, to: Point): void {
    const area = this.area(key);
    const from = area && cornerAt(area.outline, place);
    if (!area || !from) return;
    for (const beside of this.together ? this.besides(area, from) : []) {
      let outline = beside.outline;
      for (const one of cornersOn(outline, from)) outline = moved(outline, one, to);
      this.areas = put(this.areas, keyOf(beside), { ...beside, outline });
    }
    this.put({ ...area, outline: moved(area.outline, place, to) });
  }

  /** A corner in the middle of an edge; a neighbour with the same edge gets it too. */
  splitEdge(key: string, place: Place): void {
    const area = this.area(key);
    const [p, r, n] = place;
    const ring = area?.outline[p]?.[r];
    const [from, to] = [ring?.[n], ring?.[(n + 1) % (ring.length || 1)]];
    if (!area || !from || !to) return;
    for (const beside of this.together ? this.besides(area, from) : []) {
      const edge = edgeBetween(beside.outline, from, to);
      if (edge) this.areas = put(this.areas, keyOf(beside), { ...beside, outline: split(beside.outline, edge) });
    }
    this.put({ ...area, outline: split(area.outline, place) });
  }

  removeCorner(key: string, place: Place): void {
    const area = this.area(key);
    const from = area && cornerAt(area.outline, place);
    if (!area || !from) return;
    for (const beside of this.together ? this.besides(area, from) : []) {
      const [one] = cornersOn(beside.outline, from);
      if (one) this.areas = put(this.areas, keyOf(beside), { ...beside, outline: without(beside.outline, one) });
    }
    this.put({ ...area, outline: without(area.outline, place) });
  }

  /** Corners of the other areas of a layer, to which a corner snaps. */
  *spots(area: AreaDraft): Iterable<Point> {
    for (const one of this.layer(area.layer)) if (one.code !== area.code) yield* corners(one.outline);
  }

  private *layer(layer: string): Iterable<AreaDraft> {
    for (const entry of this.entries) {
      if (entry.layer !== layer) continue;
      const area = this.area(keyOf(entry));
      if (area && !area.ended) yield area;
    }
  }

  private besides(area: AreaDraft, spot: Point): AreaDraft[] {
    return [...this.layer(area.layer)].filter((one) => one.code !== area.code && cornersOn(one.outline, spot).length > 0);
  }

  body(reason: string): Record<string, unknown> {
    return {
      areas: [...this.areas.values()].map(({ outline, parent, version, ...area }) => ({
        ...area,
        parent: parent || null,
        geometry: geometryOf(outline),
        ...(version === null ? {} : { version }),
      })),
      devices: [...this.devices.values()],
      reason: reason.trim() || "–",
    };
  }

  private later(): void {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => void this.tryIt(), TRY_AFTER_MS);
  }

  /** What a save would change; an answer that a further stroke has overtaken is thrown away. */
  async tryIt(): Promise<void> {
    if (!this.dirty) return this.clear();
    const asked = (this.asked += 1);
    try {
      const preview = await register.tryGround(this.body(""));
      if (asked === this.asked) [this.preview, this.problem] = [preview, ""];
    } catch (error) {
      if (asked === this.asked) [this.preview, this.problem] = [null, session.explain(error)];
    }
  }

  /** Saves exactly what the preview says; true when it is done. */
  async save(reason: string): Promise<boolean> {
    if (!this.preview) return false;
    this.busy = true;
    try {
      await register.saveGround(this.body(reason), this.preview.token);
      this.clear();
      await this.load();
      return true;
    } catch (error) {
      if (error instanceof Problem && error.status === 412) await this.tryIt();
      this.problem = session.explain(error);
      return false;
    } finally {
      this.busy = false;
    }
  }
}

function edgeBetween(outline: Outline, from: Point, to: Point): Place | null {
  for (const [p, r, n] of cornersOn(outline, from)) {
    const ring = outline[p]?.[r] ?? [];
    const after = (n + 1) % ring.length;
    const before = (n + ring.length - 1) % ring.length;
    if (cornersOn([[[ring[after] ?? from]]], to).length > 0) return [p, r, n];
    if (cornersOn([[[ring[before] ?? from]]], to).length > 0) return [p, r, before];
  }
  return null;
}
