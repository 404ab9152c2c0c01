/** Observed level (solid), forecast (dashed, in its band) and the levels, drawn by uPlot in rem-sized text. */
import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import type { Language } from "../i18n/catalogue";
import { hourMinute, metres } from "../i18n/format";
import { aligned, NOTHING, type Column, type Columns, type Series } from "./series";

const AXIS = "#a3aeb9";
const GRID = "#2b343e";
const OBSERVED = "#8fbcf0";
const BAND = "#8fbcf033";
const NOW = "#5b6874";
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
  /** The centre's time, epoch ms; without it the screen's own, which may be wrong. */
  now?: () => number;
}
export interface HydrographChart {
  draw(series: Series, levels: Levels): void;
  destroy(): void;
}

function rem(): number {
  return parseFloat(getComputedStyle(document.documentElement).fontSize);
}

/** The scale holds the curve and every level near it; one far away would flatten the curve. */
export function levelRange(low: number, high: number, { warning, guaranteed }: Levels): [number, number] {
  const far = Math.max(high - low, 0.5) * 2;
  let [bottom, top] = [low, high];
  if (warning !== null && low - warning < far) [bottom, top] = [Math.min(low, warning), Math.max(high, warning)];
  if (guaranteed !== null && guaranteed - top < far) top = Math.max(top, guaranteed);
  const pad = Math.max((top - bottom) * 0.08, 0.05);
  return [bottom - pad, top + pad];
}

/**
 * Where labels of one height stand beside lines at `wanted` (downwards, highest line first): inside top..bottom,
 * none on another. Labels that do not fit keep the lower end.
 */
export function labelPositions(wanted: number[], height: number, top: number, bottom: number): number[] {
  const placed: number[] = [];
  for (const y of wanted) placed.push(Math.max(y, (placed.at(-1) ?? -Infinity) + height, top + height / 2));
  let floor = bottom + height / 2;
  for (let at = placed.length - 1; at >= 0; at--) {
    floor = Math.min(placed[at] ?? floor, floor - height);
    placed[at] = floor;
  }
  return placed;
}

const SHORTEST_S = 3600;

/** The curves over an hour at least: a few minutes must not look like a flood, and no point at all not like 1970. */
export function framed(curves: Columns, now: number): Columns {
  const [times, ...rest] = curves;
  const end = times.at(-1) ?? now;
  const start = end - SHORTEST_S;
  const with_start = (column: Column): Column => (times.length === 0 ? [null, null] : [null, ...column]);
  if (times.length > 0 && (times[0] ?? end) <= start) return curves;
  const [observed, forecast, low, high] = rest;
  const frame: number[] = times.length === 0 ? [start, end] : [start, ...times];
  return [frame, with_start(observed), with_start(forecast), with_start(low), with_start(high)];
}

export function drawHydrograph(host: HTMLElement, words: Words): HydrographChart {
  let levels: Levels = { warning: null, guaranteed: null };
  let gutter = gutterWidth(levels, words);
  const options = (): uPlot.Options => ({
    width: Math.max(host.clientWidth, 1),
    height: Math.max(host.clientHeight, 1),
    cursor: { show: false },
    legend: { show: false },
    padding: [rem() * 0.7, gutter, 0, 0],
    scales: {
      x: { range: (_, first, last) => [first, last] },
      y: { range: (_, low, high) => levelRange(low ?? 0, high ?? 1, levels) },
    },
    axes: axes(words),
    series: [
      {},
      { stroke: OBSERVED, width: rem() / 7, points: { show: false }, spanGaps: true },
      { stroke: OBSERVED, width: rem() / 7, dash: [rem() / 2, rem() / 3], points: { show: false }, spanGaps: true },
      { points: { show: false }, spanGaps: true },
      { points: { show: false }, spanGaps: true },
    ],
    bands: [{ series: [4, 3], fill: BAND }],
    // A chart that was replaced may still owe a frame: its gutter no longer fits the levels.
    hooks: {
      draw: [
        (drawn) => {
          if (!drawn.root.isConnected) return;
          drawIssue(drawn);
          drawLevels(drawn, levels, words);
        },
      ],
    },
  });
  const now = words.now ?? Date.now;
  let data = framed(aligned(NOTHING), now() / 1000);
  let chart = new uPlot(options(), data, host);
  const rebuild = (): void => {
    chart.destroy();
    gutter = gutterWidth(levels, words);
    chart = new uPlot(options(), data, host);
  };
  // Text sizes hang on the root size, which changes with the window: build anew.
  const resized = new ResizeObserver(rebuild);
  resized.observe(host);
  return {
    draw(series, given) {
      levels = given;
      data = framed(aligned(series), now() / 1000);
      if (gutterWidth(levels, words) === gutter) chart.setData(data);
      else rebuild();
    },
    destroy() {
      resized.disconnect();
      chart.destroy();
    },
  };
}

function axes({ language, timeZone }: Words): uPlot.Axis[] {
  const font = labelFont(rem() * 1.125);
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

interface Line {
  level: number;
  colour: string;
  word: string;
}

function lines({ warning, guaranteed }: Levels, words: Words): Line[] {
  return [
    { level: guaranteed, colour: GUARANTEED, word: words.guaranteed },
    { level: warning, colour: WARNING, word: words.warning },
  ].filter((line): line is Line => line.level !== null);
}

const labelFont = (px: number): string => `${px}px ${getComputedStyle(document.body).fontFamily}`;

/** Room at the right for the levels' labels, where no curve runs, and for half of a time that stands at the very end;
 * an arrow says that a line is out of range. */
function gutterWidth(levels: Levels, words: Words): number {
  const measuring = document.createElement("canvas").getContext("2d");
  if (measuring === null) return 0;
  measuring.font = labelFont(rem() * 1.125);
  const widths = lines(levels, words).map(({ level, word }) => measuring.measureText(`${word}↑${metres(level)}`).width);
  const time = measuring.measureText(hourMinute(Date.now(), words.language, words.timeZone)).width;
  return Math.ceil(Math.max(time / 2, ...widths) + rem() * 0.3);
}

/** A line where the forecast begins: what is left of it was seen, what is right of it is expected. */
function drawIssue(chart: uPlot): void {
  const [times, , forecast] = chart.data;
  const issued = times[forecast?.findIndex((level) => level !== null) ?? -1];
  if (issued === undefined) return;
  const { ctx, bbox } = chart;
  const x = chart.valToPos(issued, "x", true);
  ctx.save();
  ctx.strokeStyle = NOW;
  ctx.lineWidth = 1;
  ctx.beginPath();
  ctx.moveTo(x, bbox.top);
  ctx.lineTo(x, bbox.top + bbox.height);
  ctx.stroke();
  ctx.restore();
}

function drawLevels(chart: uPlot, levels: Levels, words: Words): void {
  const { ctx, bbox } = chart;
  const height = rem() * 1.125 * uPlot.pxRatio;
  const right = bbox.left + bbox.width;
  const [top, bottom] = [bbox.top, bbox.top + bbox.height];
  const shown = lines(levels, words).map((line) => ({ ...line, y: chart.valToPos(line.level, "y", true) }));
  const labels = labelPositions(shown.map(({ y }) => y), height * 1.15, top, bottom);
  ctx.save();
  ctx.font = labelFont(height);
  ctx.textBaseline = "middle";
  ctx.textAlign = "left"; // uPlot leaves its own alignment behind
  ctx.lineWidth = rem() / 10;
  ctx.setLineDash([rem() / 2, rem() / 3]);
  for (const [at, { level, colour, word, y }] of shown.entries()) {
    const outside = y < top ? "↑" : y > bottom ? "↓" : null;
    ctx.strokeStyle = ctx.fillStyle = colour;
    if (outside === null) {
      ctx.beginPath();
      ctx.moveTo(bbox.left, y);
      ctx.lineTo(right, y);
      ctx.stroke();
    }
    ctx.fillText(`${word}${outside ?? " "}${metres(level)}`, right + height * 0.2, labels[at] ?? y);
  }
  ctx.restore();
}
