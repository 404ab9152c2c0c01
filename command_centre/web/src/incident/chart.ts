/** Readings of a device with the rule's limits and the alarm's time over them, drawn by uPlot. */
import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import type { Language } from "../i18n/catalogue";
import { hourMinute } from "../i18n/format";
import { labelPositions } from "../wall/hydrograph";
import { columns, scale, type Episode, type Limit } from "./readings";
import type { Reading } from "./api";

export interface Shown {
  readings: readonly Reading[];
  limits: readonly Limit[];
  above: boolean;
  episodes: readonly Episode[];
  /** Epoch milliseconds. */
  span: readonly [number, number];
}
export interface Words {
  language: Language;
  timeZone: string;
  raise: string;
  clear: string;
}

const rem = () => parseFloat(getComputedStyle(document.documentElement).fontSize);
const token = (name: string) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const font = (px: number) => `${px}px ${getComputedStyle(document.body).fontFamily}`;
const plain = (value: number) => String(Number(value.toPrecision(6)));

/** Draws into `host` and again when that changes its size; returns what ends it. */
export function drawReadings(host: HTMLElement, shown: Shown, words: Words): () => void {
  let chart: uPlot | null = null;
  const build = (): void => {
    chart?.destroy();
    chart = new uPlot(options(host, shown, words), columns(shown.readings), host);
  };
  const resized = new ResizeObserver(build); // calls once at the beginning
  resized.observe(host);
  return () => {
    resized.disconnect();
    chart?.destroy();
  };
}

function options(host: HTMLElement, shown: Shown, words: Words): uPlot.Options {
  const curve = token("--focus");
  const [from, to] = shown.span;
  const lines = limitLines(shown, words);
  return {
    width: Math.max(host.clientWidth, 1),
    height: Math.max(host.clientHeight, 1),
    cursor: { show: false },
    legend: { show: false },
    padding: [rem() * 0.7, gutter(lines), 0, 0],
    scales: {
      x: { range: () => [from / 1000, to / 1000] },
      y: { range: (_, low, high) => scale(low ?? 0, high ?? 1, lines.map((one) => one.value)) },
    },
    axes: axes(words),
    series: [
      {},
      { stroke: curve, width: 2, points: { show: shown.readings.length < 40, size: 5, fill: curve } },
      { points: { show: false } },
      { points: { show: false } },
    ],
    bands: [{ series: [3, 2], fill: `${curve}33` }],
    hooks: {
      drawClear: [(drawn) => drawBeneath(drawn, shown, lines)],
      draw: [(drawn) => drawLines(drawn, lines)],
    },
  };
}

function axes({ language, timeZone }: Words): uPlot.Axis[] {
  const common = {
    font: font(rem() * 0.875),
    stroke: token("--text-quiet"),
    grid: { stroke: token("--line"), width: 1 },
    ticks: { show: false },
  };
  return [
    {
      ...common,
      size: rem() * 1.5,
      gap: rem() * 0.25,
      space: rem() * 4.5,
      values: (_, times) => times.map((at) => hourMinute(at * 1000, language, timeZone)),
    },
    {
      ...common,
      size: rem() * 3.2,
      gap: rem() * 0.25,
      space: rem() * 2,
      values: (_, values) => values.map(plain),
    },
  ];
}

interface Line {
  value: number;
  colour: string;
  word: string;
  raises: boolean;
}

function limitLines({ limits }: Shown, words: Words): Line[] {
  return limits
    .map(({ key, value }) => ({
      value,
      raises: key === "raise_at",
      colour: token(key === "raise_at" ? "--orange" : "--text-quiet"),
      word: `${key === "raise_at" ? words.raise : words.clear} ${plain(value)}`,
    }))
    .sort((a, b) => b.value - a.value);
}

function gutter(lines: readonly Line[]): number {
  const measuring = document.createElement("canvas").getContext("2d");
  if (measuring === null) return 0;
  measuring.font = font(rem() * 0.875);
  return Math.ceil(Math.max(rem() * 1.5, ...lines.map(({ word }) => measuring.measureText(`${word} ↑`).width + rem() * 0.5)));
}

/** Under the curve: the time in which it alarmed, and the side of the limit on which it does. */
function drawBeneath(chart: uPlot, { episodes, above, span }: Shown, lines: readonly Line[]): void {
  const { ctx, bbox } = chart;
  const inside = (x: number) => Math.min(Math.max(x, bbox.left), bbox.left + bbox.width);
  ctx.save();
  ctx.fillStyle = `${token("--orange")}2e`;
  ctx.strokeStyle = token("--orange");
  ctx.lineWidth = 1;
  for (const { from, to } of episodes) {
    const left = inside(chart.valToPos(from / 1000, "x", true));
    const right = inside(chart.valToPos((to ?? span[1]) / 1000, "x", true));
    ctx.fillRect(left, bbox.top, Math.max(right - left, 2), bbox.height);
    ctx.strokeRect(left, bbox.top, Math.max(right - left, 2), bbox.height);
  }
  const raise = lines.find((line) => line.raises);
  if (raise) {
    const y = Math.min(Math.max(chart.valToPos(raise.value, "y", true), bbox.top), bbox.top + bbox.height);
    ctx.fillStyle = `${token("--orange")}1f`;
    if (above) ctx.fillRect(bbox.left, bbox.top, bbox.width, y - bbox.top);
    else ctx.fillRect(bbox.left, y, bbox.width, bbox.top + bbox.height - y);
  }
  ctx.restore();
}

function drawLines(chart: uPlot, lines: readonly Line[]): void {
  if (!chart.root.isConnected) return;
  const { ctx, bbox } = chart;
  const height = rem() * 0.875 * uPlot.pxRatio;
  const [top, bottom, right] = [bbox.top, bbox.top + bbox.height, bbox.left + bbox.width];
  const at = lines.map(({ value }) => chart.valToPos(value, "y", true));
  const labels = labelPositions(at, height * 1.2, top, bottom);
  ctx.save();
  ctx.font = font(height);
  ctx.textAlign = "left"; // uPlot leaves its own alignment behind
  ctx.textBaseline = "middle";
  ctx.lineWidth = 1.5 * uPlot.pxRatio;
  ctx.setLineDash([rem() / 2, rem() / 3]);
  for (const [i, { colour, word }] of lines.entries()) {
    const y = at[i] ?? 0;
    const outside = y < top - 1 ? " ↑" : y > bottom + 1 ? " ↓" : "";
    ctx.strokeStyle = ctx.fillStyle = colour;
    if (outside === "") {
      ctx.beginPath();
      ctx.moveTo(bbox.left, y);
      ctx.lineTo(right, y);
      ctx.stroke();
    }
    ctx.fillText(`${word}${outside}`, right + height * 0.25, labels[i] ?? y);
  }
  ctx.restore();
}
