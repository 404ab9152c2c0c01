/** Alarms in each ten minutes as uPlot draws them: spans without any are zero, not missing. */
import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import type { Language } from "../i18n/catalogue";
import { calendarDate, hourMinute } from "../i18n/format";

/** Begin of every span from `from` to `to` (epoch s) and its alarms. `counted`: begins (RFC 3339) that had any. */
export function filled(
  counted: readonly (readonly [string, number])[],
  from: number,
  to: number,
  minutes: number,
): [number[], number[]] {
  const by = new Map(counted.map(([at, number]) => [Math.round(Date.parse(at) / 1000), number]));
  const [xs, ys]: [number[], number[]] = [[], []];
  for (let at = Math.round(from); at < to; at += minutes * 60) {
    xs.push(at);
    ys.push(by.get(at) ?? 0);
  }
  return [xs, ys];
}

export interface Words {
  language: Language;
  timeZone: string;
  limit: string;
}

/** A bar for each span and a line at `limit`; ends with the returned function. */
export function drawSpans(box: HTMLElement, data: [number[], number[]], limit: number, words: Words): () => void {
  const rem = parseFloat(getComputedStyle(document.documentElement).fontSize);
  const [grey, line, bar] = ["#a3aeb9", "#2b343e", "#8fbcf0"];
  const font = `${0.875 * rem}px ${getComputedStyle(document.documentElement).fontFamily}`;
  const bars = uPlot.paths.bars?.({ size: [1, 40] });
  const chart = new uPlot(
    {
      width: box.clientWidth,
      height: 14 * rem,
      tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1000), words.timeZone),
      legend: { show: false },
      cursor: { show: false },
      scales: { y: { range: (_chart, _low, high) => [0, Math.max(high, limit) * 1.15] } },
      axes: [
        {
          stroke: grey,
          font,
          grid: { stroke: line },
          ticks: { stroke: line },
          space: 9 * rem,
          values: (_chart, splits) =>
            splits.map((at) => {
              const time = hourMinute(at * 1000, words.language, words.timeZone);
              return time === "00:00" ? calendarDate(at * 1000, words.language, words.timeZone) : time;
            }),
        },
        { stroke: grey, font, grid: { stroke: line }, ticks: { stroke: line }, size: 3 * rem },
      ],
      series: [
        {},
        { stroke: bar, fill: bar, width: 0, points: { show: false }, ...(bars ? { paths: bars } : {}) },
      ],
      hooks: {
        draw: [
          (self) => {
            const y = self.valToPos(limit, "y", true);
            const { ctx, bbox } = self;
            ctx.save();
            ctx.strokeStyle = ctx.fillStyle = "#ec7f13";
            ctx.setLineDash([6, 4]);
            ctx.beginPath();
            ctx.moveTo(bbox.left, y);
            ctx.lineTo(bbox.left + bbox.width, y);
            ctx.stroke();
            ctx.textAlign = "right";
            ctx.textBaseline = "bottom";
            ctx.font = `${0.875 * rem * devicePixelRatio}px ${getComputedStyle(document.documentElement).fontFamily}`;
            ctx.fillText(words.limit, bbox.left + bbox.width - 4, y - 2);
            ctx.restore();
          },
        ],
      },
    },
    data,
    box,
  );
  const resized = new ResizeObserver(() => {
    chart.setSize({ width: box.clientWidth, height: 14 * rem });
  });
  resized.observe(box);
  return () => {
    resized.disconnect();
    chart.destroy();
  };
}
