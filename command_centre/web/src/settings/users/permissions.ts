/** The gate's table folded for people: for each noun and role, how much may be looked at and changed. Pure. */
import type { Shapes } from "../../api/shapes";

export type Route = Shapes["RoutePermission"];
export type Extent = "all" | "some" | "none";
export interface Cell {
  look: Extent;
  change: Extent;
}
export interface Noun {
  tag: string;
  routes: Route[];
  /** By role. */
  cells: Record<string, Cell>;
}

const OPEN = ["public", "anyone", "wall", "session", "loopback"]; // the wall is everybody's who has logged in

/** What needs no role at all is open to everybody who gets as far as the page. */
function may(route: Route, role: string): boolean {
  return OPEN.includes(route.needs) || route.roles.includes(role);
}

function extent(routes: readonly Route[], role: string): Extent {
  const allowed = routes.filter((route) => may(route, role)).length;
  return allowed === 0 ? "none" : allowed === routes.length ? "all" : "some";
}

export function nouns(routes: readonly Route[], roles: readonly string[]): Noun[] {
  const byTag = new Map<string, Route[]>();
  for (const route of routes) byTag.set(route.tag, [...(byTag.get(route.tag) ?? []), route]);
  return [...byTag].map(([tag, own]) => {
    const reads = own.filter((route) => !route.changes);
    const writes = own.filter((route) => route.changes);
    const cells = Object.fromEntries(
      roles.map((role) => [role, { look: extent(reads, role), change: extent(writes, role) }]),
    );
    return { tag, routes: own, cells };
  });
}
