/** The three charts of a hydrograph on one time axis: rain from above, the station itself, the water upstream. */
import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import type { Language } from "../i18n/catalogue";
import { hourMinute, metres, monthDay } from "../i18n/format";
import { labelPositions } from "../wall/hydrograph";
import type { LevelName } from "./api";
import { scaleOf, stepOf, type Curves } from "./curves";

export interface ChartWords {
  language: Language;
  timeZone: string;
  levels: Record<LevelName, string>;
}
export interface Hosts {
  rain: HTMLElement;
  main: HTMLElement;
  upstream: HTMLElement;
}
export type ShownLevels = Partial<Record<LevelName, number | null>>;

const LEVEL_COLOURS: Record<LevelName, string> = {
  warning: "--yellow",
  guaranteed: "--orange",
  highest: "--red",
  bank: "--text-quiet",
  design: "--text-quiet",
};
/** Of the upstream curves, told apart by dash and digit as well. */
export const DASHES: readonly (readonly [number, number] | null)[] = [null, [0.6, 0.3], [0.2, 0.2], [1.2, 0.4]];

export const rem = (): number => parseFloat(getComputedStyle(document.documentElement).fontSize);
export const token = (name: string): string => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
export const font = (px: number): string => `${px}px ${getComputedStyle(document.body).fontFamily}`;
const TEXT_REM = 0.875;

/** Hours and minutes; the day itself at midnight, so that a week can be read. */
export function tickWords(at: number, { language, timeZone }: ChartWords): string {
  const words = hourMinute(at * 1000, language, timeZone);
  return words === "00:00" ? monthDay(at * 1000, language, timeZone) : words;
}

export function axis(values: uPlot.Axis.Values, size: number, space: number): uPlot.Axis {
  return {
    font: font(rem() * TEXT_REM),
    stroke: token("--text-quiet"),
    grid: { stroke: token("--line"), width: 1 },
    ticks: { show: false },
    size: rem() * size,
    gap: rem() * 0.25,
    space: rem() * space,
    values,
  };
}

export class HydrographCharts {
  private charts: uPlot[] = [];
  private shown: { curves: Curves; levels: ShownLevels; shifted: boolean } | null = null;
  private at: number | null = null;
  private readonly resized: ResizeObserver;

  constructor(
    private readonly hosts: Hosts,
    private readonly words: ChartWords,
    private readonly onmove: (at: number) => void,
  ) {
    this.resized = new ResizeObserver(() => {
      this.build();
    });
    this.resized.observe(hosts.main);
  }

  show(curves: Curves, levels: ShownLevels, shifted: boolean): void {
    this.shown = { curves, levels, shifted };
    this.build();
  }

  /** Draws the line that names the moment read out; null takes it away. */
  point(at: number | null): void {
    this.at = at;
    for (const chart of this.charts) this.place(chart);
  }

  private place(chart: uPlot): void {
    chart.setCursor(this.at === null ? { left: -10, top: -10 } : { left: chart.valToPos(this.at, "x"), top: 0 });
  }

  destroy(): void {
    this.resized.disconnect();
    this.clear();
  }

  private clear(): void {
    for (const chart of this.charts) chart.destroy();
    this.charts = [];
  }

  private build(): void {
    if (this.shown === null || this.hosts.main.clientWidth === 0) return;
    this.clear();
    const { curves, levels, shifted } = this.shown;
    if (curves.rain.length > 0) this.charts.push(this.rain(curves));
    this.charts.push(this.main(curves, levels));
    if (curves.upstream.length > 0) this.charts.push(this.upstream(curves, shifted));
  }

  private options(host: HTMLElement, curves: Curves): Pick<uPlot.Options, "width" | "height"> & Partial<uPlot.Options> {
    return {
      width: host.clientWidth,
      height: Math.max(host.clientHeight, 1),
      legend: { show: false },
      padding: [rem() * 0.5, gutter(this.shown?.levels ?? {}, this.words), 0, 0],
      tzDate: (at) => uPlot.tzDate(new Date(at * 1000), this.words.timeZone),
      cursor: { y: false, points: { show: false }, drag: { x: false, y: false } },
      hooks: {
        ready: [
          (chart) => {
            this.place(chart);
            // uPlot's own hook also fires for cursors that were set by code, and late; a person's pointer is meant.
            chart.over.addEventListener("pointermove", (event) => {
              const at = closest(curves.moments, chart.posToVal(event.offsetX, "x"));
              if (at !== null) this.onmove(at);
            });
          },
        ],
      },
    };
  }

  private xAxis(shown: boolean): uPlot.Axis {
    return { ...axis((_, times) => times.map((at) => tickWords(at, this.words)), shown ? 1.6 : 0.2, 5), ...(shown ? {} : { values: () => [] }) };
  }

  private yAxis(digits: number): uPlot.Axis {
    return axis((_, values) => values.map((value) => String(Number(value.toFixed(digits)))), 3.4, 2);
  }

  private rain(curves: Curves): uPlot {
    const { hosts } = this;
    const bars = uPlot.paths.bars?.({ size: [0.85], align: 1 });
    const padded: uPlot.AlignedData = [
      [...curves.rain.map(([at]) => at), (curves.rain.at(-1)?.[0] ?? 0) + stepOf(curves.rain)],
      [...curves.rain.map(([, mm]) => mm), null],
    ];
    return new uPlot(
      {
        ...this.options(hosts.rain, curves),
        scales: {
          x: { range: [curves.from, curves.to] },
          y: { dir: -1, range: (_, __, most) => [0, Math.max(most, 1)] },
        },
        axes: [this.xAxis(false), this.yAxis(1)],
        series: [{}, { ...(bars ? { paths: bars } : {}), fill: token("--blue"), points: { show: false } }],
      },
      padded,
      hosts.rain,
    );
  }

  private main(curves: Curves, levels: ShownLevels): uPlot {
    const options = this.options(this.hosts.main, curves);
    const width = rem() / 8;
    const stroke = token("--focus");
    const hidden: uPlot.Series = { points: { show: false }, spanGaps: true };
    return new uPlot(
      {
        ...options,
        scales: {
          x: { range: [curves.from, curves.to] },
          y: { range: (_, low, high) => scaleOf(low ?? 0, high ?? 1, Object.values(levels)) },
        },
        axes: [this.xAxis(curves.upstream.length === 0), this.yAxis(2)],
        series: [
          {},
          { stroke, width, points: { show: false }, spanGaps: true },
          { stroke, width, dash: [rem() / 2, rem() / 3], points: { show: false }, spanGaps: true },
          hidden,
          hidden,
        ],
        bands: [{ series: [4, 3], fill: `${stroke}33` }],
        hooks: { ...options.hooks, draw: [(chart) => drawLevels(chart, levels, this.words)] },
      },
      curves.main,
      this.hosts.main,
    );
  }

  private upstream(curves: Curves, shifted: boolean): uPlot {
    const options = this.options(this.hosts.upstream, curves);
    const moved = curves.upstream.map(({ observed, travelS }) => {
      const by = shifted ? (travelS ?? 0) : 0;
      return new Map(observed.map(([at, level]) => [at + by, level] as const));
    });
    const times = [...new Set(moved.flatMap((curve) => [...curve.keys()]))].sort((a, b) => a - b);
    return new uPlot(
      {
        ...options,
        scales: { x: { range: [curves.from, curves.to] }, y: { range: (_, low, high) => scaleOf(low ?? 0, high ?? 1, []) } },
        axes: [this.xAxis(true), this.yAxis(2)],
        series: [
          {},
          ...moved.map((_, at): uPlot.Series => {
            const dash = DASHES[at % DASHES.length];
            return {
              stroke: token("--text"),
              width: rem() / 10,
              ...(dash ? { dash: dash.map((part) => part * rem()) } : {}),
              points: { show: false },
              spanGaps: true,
            };
          }),
        ],
        hooks: { ...options.hooks, draw: [(chart) => drawDigits(chart, curves.upstream.length)] },
      },
      [times, ...moved.map((curve) => times.map((at) => curve.get(at) ?? null))],
      this.hosts.upstream,
    );
  }
}

function closest(moments: readonly number[], at: number): number | null {
  let best: number | null = null;
  for (const moment of moments) if (best === null || Math.abs(moment - at) < Math.abs(best - at)) best = moment;
  return best;
}

/** Room at the right for the levels' names, where no curve runs; a digit at a curve's end fits as well. */
export function gutter(levels: ShownLevels, words: ChartWords): number {
  const measuring = document.createElement("canvas").getContext("2d");
  if (measuring === null) return 0;
  measuring.font = font(rem() * TEXT_REM);
  const widths = Object.entries(levels)
    .filter(([, level]) => typeof level === "number")
    .map(([name, level]) => measuring.measureText(`${words.levels[name as LevelName]} ${metres(level ?? 0)}↑`).width);
  return Math.ceil(Math.max(rem() * 1.5, ...widths) + rem());
}

interface Line {
  level: number;
  colour: string;
  word: string;
}

/** Each level as a line with its name at the right; an arrow says that it lies outside the scale. */
export function drawLevels(chart: uPlot, levels: ShownLevels, words: ChartWords): void {
  if (!chart.root.isConnected) return;
  const lines = (Object.entries(levels) as [LevelName, number | null | undefined][])
    .filter((pair): pair is [LevelName, number] => typeof pair[1] === "number")
    .map(([name, level]): Line => ({ level, colour: token(LEVEL_COLOURS[name]), word: words.levels[name] }))
    .sort((a, b) => b.level - a.level);
  const { ctx, bbox } = chart;
  const height = rem() * TEXT_REM * uPlot.pxRatio;
  const right = bbox.left + bbox.width;
  const [top, bottom] = [bbox.top, bbox.top + bbox.height];
  const heights = lines.map(({ level }) => chart.valToPos(level, "y", true));
  const labels = labelPositions(heights, height * 1.25, top, bottom);
  ctx.save();
  ctx.font = font(height);
  ctx.textBaseline = "middle";
  ctx.textAlign = "left"; // uPlot leaves its own alignment behind
  ctx.lineWidth = rem() / 12;
  ctx.setLineDash([rem() / 2, rem() / 3]);
  for (const [at, { level, colour, word }] of lines.entries()) {
    const y = heights[at] ?? 0;
    const outside = y < top ? "↑" : y > bottom ? "↓" : "";
    ctx.strokeStyle = ctx.fillStyle = colour;
    if (outside === "") {
      ctx.beginPath();
      ctx.moveTo(bbox.left, y);
      ctx.lineTo(right, y);
      ctx.stroke();
    }
    // Red letters are too dark on the panel to be read: the line alone is red.
    if (colour === token("--red")) ctx.fillStyle = token("--text");
    ctx.fillText(`${word} ${metres(level)}${outside}`, right + height * 0.3, labels[at] ?? y);
  }
  ctx.restore();
}

/** The digit of each curve at its last point. */
export function drawDigits(chart: uPlot, curves: number): void {
  const { ctx } = chart;
  const [times] = chart.data;
  const height = rem() * TEXT_REM * uPlot.pxRatio;
  ctx.save();
  ctx.font = font(height);
  ctx.textAlign = "left";
  ctx.textBaseline = "middle";
  ctx.fillStyle = token("--text");
  for (let curve = 1; curve <= curves; curve++) {
    const column = chart.data[curve] ?? [];
    let last = column.length - 1;
    while (last >= 0 && (column[last] === null || column[last] === undefined)) last -= 1;
    const [at, level] = [times[last], column[last]];
    if (at === undefined || level === null || level === undefined) continue;
    ctx.fillText(String(curve), chart.valToPos(at, "x", true) + height * 0.3, chart.valToPos(level, "y", true));
  }
  ctx.restore();
}
