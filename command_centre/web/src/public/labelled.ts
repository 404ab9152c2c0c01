/** What a QR label names, as anybody may know it. */
import type { Shapes } from "../api/shapes";
import { call, seg } from "../http";
import type { Draft } from "../reporting/draft";

export type Labelled = Shapes["LabelledThing"];

export const labelled = (sort: string, code: string) => call<Labelled>("GET", `/api/scanned/${seg(sort)}/${seg(code)}`);

/** The sort and code in an address such as /report?about=component:M9; null without any. */
export function aboutOf(query: string): readonly [sort: string, code: string] | null {
  const about = new URLSearchParams(query).get("about") ?? "";
  const cut = about.indexOf(":");
  return cut > 0 && cut < about.length - 1 ? [about.slice(0, cut), about.slice(cut + 1)] : null;
}

/** A draft with what is known of the thing; what somebody typed meanwhile stays. */
export function filled(draft: Draft, thing: Labelled): Draft {
  return {
    ...draft,
    category: draft.category || (thing.category ?? ""),
    component: thing.sort === "component" ? thing.code : "",
    longitude: draft.longitude ?? thing.lon,
    latitude: draft.latitude ?? thing.lat,
    cell: draft.cell || (thing.cell ?? ""),
    address: draft.address || thing.address,
    channel: "qr",
  };
}
