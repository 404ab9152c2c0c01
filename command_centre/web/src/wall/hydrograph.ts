/** Observed level (solid), forecast (dashed) and the station's levels, drawn by uPlot in rem-sized text. */
import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import type { Language } from "../i18n/catalogue";
import { hourMinute, metres } from "../i18n/format";
import { aligned, type Series } from "./series";

const AXIS = "#a3aeb9";
const GRID = "#2b343e";
const OBSERVED = "#8fbcf0";
const WARNING = "#f7f097";
const GUARANTEED = "#ec7f13";

export interface Levels {
  warning: number | null;
  guaranteed: number | null;
}
export interface Words {
  language: Language;
  timeZone: string;
  warning: string;
  guaranteed: string;
}
export interface HydrographChart {
  draw(series: Series, levels: Levels): void;
  destroy(): void;
}

function rem(): number {
  return parseFloat(getComputedStyle(document.documentElement).fontSize);
}

/** The scale holds the curve, and a level that the curve is near or above; one far above would flatten it. */
export function levelRange(low: number, high: number, { warning, guaranteed }: Levels): [number, number] {
  const reach = Math.max(high - low, 0.5);
  let top = high;
  if (warning !== null) top = Math.max(top, warning);
  if (guaranteed !== null && guaranteed - top < reach * 2) top = Math.max(top, guaranteed);
  const pad = Math.max((top - low) * 0.08, 0.05);
  return [low - pad, top + pad];
}

const SHORTEST_S = 3600;

/** From the first to the last point, but never so short that a few minutes look like a flood. */
export function timeRange(first: number | null, last: number | null, now: number): [number, number] {
  const end = last ?? now;
  return [Math.min(first ?? end, end - SHORTEST_S), end];
}

export function drawHydrograph(host: HTMLElement, words: Words): HydrographChart {
  let levels: Levels = { warning: null, guaranteed: null };
  const options = (): uPlot.Options => ({
    width: Math.max(host.clientWidth, 1),
    height: Math.max(host.clientHeight, 1),
    cursor: { show: false },
    legend: { show: false },
    padding: [rem() * 0.7, rem() * 0.5, 0, 0],
    scales: {
      x: { range: (_, first, last) => timeRange(first, last, Date.now() / 1000) },
      y: { range: (_, low, high) => levelRange(low ?? 0, high ?? 1, levels) },
    },
    axes: axes(words),
    series: [
      {},
      { stroke: OBSERVED, width: rem() / 7, points: { show: false } },
      { stroke: OBSERVED, width: rem() / 7, dash: [rem() / 2, rem() / 3], points: { show: false } },
    ],
    hooks: { draw: [(chart) => { drawLevels(chart, levels, words); }] },
  });
  let data = aligned({ observed: [], forecast: [] });
  let chart = new uPlot(options(), data, host);
  const resized = new ResizeObserver(() => {
    // Text sizes hang on the root size, which changes with the window: build anew.
    chart.destroy();
    chart = new uPlot(options(), data, host);
  });
  resized.observe(host);
  return {
    draw(series, now) {
      levels = now;
      data = aligned(series);
      chart.setData(data);
    },
    destroy() {
      resized.disconnect();
      chart.destroy();
    },
  };
}

function axes({ language, timeZone }: Words): uPlot.Axis[] {
  const font = `${rem() * 1.125}px ${getComputedStyle(document.body).fontFamily}`;
  const grid = { stroke: GRID, width: 1 };
  return [
    {
      font,
      stroke: AXIS,
      grid,
      ticks: { show: false },
      size: rem() * 1.7,
      gap: rem() * 0.2,
      space: rem() * 6,
      values: (_, times) => times.map((at) => hourMinute(at * 1000, language, timeZone)),
    },
    {
      font,
      stroke: AXIS,
      grid,
      ticks: { show: false },
      size: rem() * 3.6,
      gap: rem() * 0.3,
      space: rem() * 2.2,
      values: (_, values) => values.map((value) => String(Number(value.toFixed(2)))),
    },
  ];
}

function drawLevels(chart: uPlot, { warning, guaranteed }: Levels, words: Words): void {
  const lines = [
    { level: guaranteed, colour: GUARANTEED, word: words.guaranteed },
    { level: warning, colour: WARNING, word: words.warning },
  ];
  const { ctx, bbox } = chart;
  const height = rem() * 1.125 * uPlot.pxRatio;
  let lowest = -Infinity;
  ctx.save();
  ctx.font = `${height}px ${getComputedStyle(document.body).fontFamily}`;
  ctx.textBaseline = "middle";
  ctx.textAlign = "left"; // uPlot leaves its own alignment behind
  for (const { level, colour, word } of lines) {
    if (level === null) continue;
    const y = chart.valToPos(level, "y", true);
    if (y < bbox.top || y > bbox.top + bbox.height) continue;
    const text = `${word} ${metres(level)}`;
    const width = ctx.measureText(text).width + height * 0.4;
    // Two levels close together: the lower one's label steps down.
    const labelY = Math.max(y, lowest + height * 1.15, bbox.top + height * 0.6);
    lowest = labelY;
    ctx.strokeStyle = colour;
    ctx.lineWidth = rem() / 10;
    ctx.setLineDash([rem() / 2, rem() / 3]);
    ctx.beginPath();
    ctx.moveTo(bbox.left + width, y);
    ctx.lineTo(bbox.left + bbox.width, y);
    ctx.stroke();
    ctx.fillStyle = colour;
    ctx.fillText(text, bbox.left + height * 0.2, labelY);
  }
  ctx.restore();
}
