/** What the address of a wall asks for: /wall/<view>?scope=&kiosk&rotate=overview,flood&every=60&night=22-6&id=17. */

export const VIEWS = ["overview", "flood", "incident", "night", "calibrate", "city"] as const;
export type View = (typeof VIEWS)[number];

/** Whole hours of the district's day; from 22 to 6 runs over midnight. */
export interface Hours {
  from: number;
  to: number;
}
export interface WallOptions {
  view: View;
  kiosk: boolean;
  /** Views shown in turn; empty: the one of the address stays. */
  rotate: readonly View[];
  everyS: number;
  night: Hours | null;
  /** Code of a street, community or cell; null: the whole district. */
  scope: string | null;
  incident: string | null;
}

const SHORTEST_S = 5; // less nobody reads
const LONGEST_S = 3600;

export function readOptions(rest: readonly string[], query: string): WallOptions {
  const asked = new URLSearchParams(query);
  const on = (name: string) => asked.has(name) && !["0", "no", "false"].includes(asked.get(name) ?? "");
  const every = Number(asked.get("every") ?? 60);
  return {
    view: isView(rest[0]) ? rest[0] : "overview",
    kiosk: on("kiosk"),
    rotate: (asked.get("rotate") ?? "").split(",").map((one) => one.trim()).filter(isView).filter(turns),
    everyS: Number.isFinite(every) ? Math.min(LONGEST_S, Math.max(SHORTEST_S, every)) : 60,
    night: hours(asked.get("night")),
    scope: asked.get("scope")?.trim() || null,
    incident: asked.get("id")?.trim() || null,
  };
}

function isView(word: string | undefined): word is View {
  return VIEWS.some((view) => view === word);
}

/** Nobody stands before a wall to calibrate it while it turns its views. */
function turns(view: View): boolean {
  return view !== "calibrate";
}

function hours(text: string | null): Hours | null {
  const found = /^(\d{1,2})-(\d{1,2})$/.exec(text?.trim() ?? "");
  if (!found) return null;
  const [from, to] = [Number(found[1]), Number(found[2])];
  return from > 23 || to > 24 || from === to ? null : { from, to };
}

export function within({ from, to }: Hours, hour: number): boolean {
  return from < to ? hour >= from && hour < to : hour >= from || hour < to;
}

/** The same wall with another view: what else the address asks for stays. */
export function addressOf(view: View, query: string): string {
  const asked = new URLSearchParams(query);
  asked.delete("id");
  asked.delete("rotate");
  const rest = asked.toString().replace(/=(?=&|$)/g, "");
  return `/wall${view === "overview" ? "" : `/${view}`}${rest ? `?${rest}` : ""}`;
}
