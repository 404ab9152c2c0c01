/** The areas of a layer beneath what is edited, painted on one canvas: thousands of outlines are no elements. */
import { fit, type Box } from "../../map/projection";
import type { Outline } from "./outline";

export interface Drawn {
  key: string;
  outline: Outline;
  /** Beneath: an area that is only there for orientation. */
  faint: boolean;
  changed: boolean;
}

const token = (name: string) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

/** Paints everything that meets `box`; the canvas has `ratio` pixels for one of the page. */
export function paint(canvas: HTMLCanvasElement, drawn: readonly Drawn[], box: Box, ratio: number): void {
  const context = canvas.getContext("2d");
  if (!context) return;
  const { x, y } = fit(box, canvas.width, canvas.height, 0);
  context.clearRect(0, 0, canvas.width, canvas.height);
  context.lineJoin = "round";
  for (const one of drawn) {
    const path = new Path2D();
    for (const ring of one.outline.flat()) {
      ring.forEach(([lon, lat], n) => {
        if (n === 0) path.moveTo(x(lon), y(lat));
        else path.lineTo(x(lon), y(lat));
      });
      path.closePath();
    }
    context.lineWidth = (one.faint ? 2 : 1) * ratio;
    context.strokeStyle = token(one.faint ? "--text-quiet" : "--neutral");
    if (!one.faint) {
      context.fillStyle = token(one.changed ? "--panel-raised" : "--panel");
      context.fill(path, "evenodd");
    }
    if (one.changed) context.strokeStyle = token("--focus");
    context.stroke(path);
  }
}

/** The outline that holds a position; the last one painted lies on top. */
export function holding(drawn: readonly Drawn[], lon: number, lat: number): string | null {
  for (const one of [...drawn].reverse()) {
    if (!one.faint && one.outline.some((rings) => inside(rings, lon, lat))) return one.key;
  }
  return null;
}

function inside(rings: Outline[number], lon: number, lat: number): boolean {
  let odd = false;
  for (const ring of rings) {
    for (let i = 0, j = ring.length - 1; i < ring.length; j = i++) {
      const [a, b] = [ring[i], ring[j]];
      if (!a || !b || a[1] > lat === b[1] > lat) continue;
      if (lon < ((b[0] - a[0]) * (lat - a[1])) / (b[1] - a[1]) + a[0]) odd = !odd;
    }
  }
  return odd;
}

/** A box about `of`, `times` as wide and high, and never so small that a corner fills it. */
export function grown([west, south, east, north]: Box, times: number): Box {
  const [x, y] = [(west + east) / 2, (south + north) / 2];
  const half = (least: number, span: number) => Math.max(span / 2, least) * times;
  const [wide, high] = [half(0.0003, east - west), half(0.0003, north - south)];
  return [x - wide, y - high, x + wide, y + high];
}
