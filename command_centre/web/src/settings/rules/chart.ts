/** Readings with the rule's limits over them, and the would-be alarms shaded: new ones above, lost ones below. */
import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import type { Language } from "../../i18n/catalogue";
import { calendarDate, hourMinute } from "../../i18n/format";
import type { Reading } from "./api";
import type { Line } from "./definition";
import type { Fate, Fated } from "./fates";

const AXIS = "#a3aeb9";
const GRID = "#2b343e";
const CURVE = "#8fbcf0";
const BAND = "#8fbcf033";
const QUIET = "#a3aeb9";
const LEVELS: Readonly<Record<string, string>> = { red: "#e82c45", orange: "#ec7f13", yellow: "#f7f097", blue: "#4e8fda" };
// New and lost differ in place (top, bottom) as well as in colour.
const SHADES: Readonly<Record<Fate, string>> = { gained: "#ec7f1355", alone: "#ec7f1355", kept: "#a3aeb933", lost: "#a3aeb999" };
const DAY_S = 86_400;

export interface ChartWords {
  language: Language;
  timeZone: string;
  /** The words of a key of the rule. */
  key: (key: string) => string;
}

/** Draws into `host` until the returned function is called; text sizes hang on the root's, so a resize draws anew. */
export function drawPreview(
  host: HTMLElement,
  readings: readonly Reading[],
  lines: readonly Line[],
  spans: readonly Fated[],
  words: ChartWords,
): () => void {
  const times = readings.map((one) => Date.parse(one.at) / 1000);
  const data: uPlot.AlignedData = [
    times,
    readings.map((one) => one.mean),
    readings.map((one) => one.max),
    readings.map((one) => one.min),
  ];
  const make = (): uPlot => new uPlot(options(host, lines, spans, words, (times.at(-1) ?? 0) - (times[0] ?? 0)), data, host);
  let chart = make();
  const resized = new ResizeObserver(() => {
    if (host.clientWidth === chart.width && host.clientHeight === chart.height) return;
    chart.destroy();
    chart = make();
  });
  resized.observe(host);
  return () => {
    resized.disconnect();
    chart.destroy();
  };
}

function options(
  host: HTMLElement,
  lines: readonly Line[],
  spans: readonly Fated[],
  words: ChartWords,
  spanS: number,
): uPlot.Options {
  const rem = parseFloat(getComputedStyle(document.documentElement).fontSize);
  const font = `${rem * 0.875}px ${getComputedStyle(document.body).fontFamily}`;
  const axis = { font, stroke: AXIS, grid: { stroke: GRID, width: 1 }, ticks: { show: false } };
  const time = (s: number) => (spanS > 3 * DAY_S ? calendarDate : hourMinute)(s * 1000, words.language, words.timeZone);
  return {
    width: Math.max(host.clientWidth, 1),
    height: Math.max(host.clientHeight, 1),
    cursor: { show: false },
    legend: { show: false },
    padding: [rem, rem * 0.75, 0, 0],
    scales: {
      y: {
        range: (_, low, high) => {
          const all = [low ?? 0, high ?? 1, ...lines.map((line) => line.at)];
          const [bottom, top] = [Math.min(...all), Math.max(...all)];
          const pad = Math.max((top - bottom) * 0.1, 0.05);
          return [bottom - pad, top + pad];
        },
      },
    },
    axes: [
      { ...axis, size: rem * 1.6, space: rem * 7, values: (_, at) => at.map(time) },
      { ...axis, size: rem * 3.5, values: (_, at) => at.map((value) => String(Number(value.toFixed(3)))) },
    ],
    series: [
      {},
      { stroke: CURVE, width: 1.5, points: { show: false }, spanGaps: false },
      { points: { show: false } },
      { points: { show: false } },
    ],
    bands: [{ series: [2, 3], fill: BAND }],
    hooks: {
      drawClear: [(chart) => shade(chart, spans)],
      draw: [(chart) => drawLines(chart, lines, words, font)],
    },
  };
}

function shade(chart: uPlot, spans: readonly Fated[]): void {
  const { ctx, bbox } = chart;
  ctx.save();
  for (const { episode, fate } of spans) {
    const x = chart.valToPos(Date.parse(episode.raised_at) / 1000, "x", true);
    const end = chart.valToPos((Date.parse(episode.raised_at) + episode.seconds * 1000) / 1000, "x", true);
    const [left, right] = [Math.max(x, bbox.left), Math.min(Math.max(end, x + 2), bbox.left + bbox.width)];
    if (right <= left) continue;
    ctx.fillStyle = SHADES[fate];
    const strip = bbox.height * 0.06;
    if (fate === "lost") ctx.fillRect(left, bbox.top + bbox.height - strip, right - left, strip);
    else ctx.fillRect(left, bbox.top, right - left, bbox.height - strip);
  }
  ctx.restore();
}

function drawLines(chart: uPlot, lines: readonly Line[], words: ChartWords, font: string): void {
  const { ctx, bbox } = chart;
  ctx.save();
  ctx.font = font.replace(/^[\d.]+/, (size) => String(Number(size) * uPlot.pxRatio));
  ctx.textBaseline = "bottom";
  ctx.textAlign = "left"; // uPlot leaves its own alignment behind
  ctx.setLineDash([8, 6]);
  ctx.lineWidth = 1.5;
  for (const line of lines) {
    const y = chart.valToPos(line.at, "y", true);
    ctx.strokeStyle = ctx.fillStyle = (line.level && LEVELS[line.level]) || QUIET;
    ctx.beginPath();
    ctx.moveTo(bbox.left, y);
    ctx.lineTo(bbox.left + bbox.width, y);
    ctx.stroke();
    ctx.fillText(`${words.key(line.key)} ${Number(line.at.toFixed(3))}`, bbox.left + 6, y - 2);
  }
  ctx.restore();
}
