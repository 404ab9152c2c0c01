/** Past floods over each other, hours from the moment they are aligned by; the present is the thick line. */
import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import { alignedHours, type Overlay } from "./compare";
import { axis, DASHES, gutter, drawDigits, drawLevels, rem, token, type ChartWords } from "./charts";
import { scaleOf } from "./curves";

export function drawComparison(
  host: HTMLElement,
  overlays: readonly Overlay[],
  limit: number | null,
  words: ChartWords,
): () => void {
  let chart: uPlot | null = null;
  const build = (): void => {
    chart?.destroy();
    const data = alignedHours(overlays);
    const levels = { warning: limit };
    chart = new uPlot(
      {
        width: Math.max(host.clientWidth, 1),
        height: Math.max(host.clientHeight, 1),
        legend: { show: false },
        cursor: { show: false },
        padding: [rem() * 0.5, gutter(levels, words), 0, 0],
        scales: {
          x: { time: false },
          y: { range: (_, low, high) => scaleOf(low ?? 0, high ?? 1, [limit]) },
        },
        axes: [
          axis((_, hours) => hours.map((at) => `${at > 0 ? "+" : ""}${at} h`), 1.6, 4),
          axis((_, values) => values.map((value) => String(Number(value.toFixed(2)))), 3.4, 2),
        ],
        series: [{}, ...overlays.map((one, at) => look(one, at))],
        hooks: {
          draw: [
            (drawn) => {
              drawLevels(drawn, levels, words);
              drawDigits(drawn, overlays.length);
            },
          ],
        },
      },
      data,
      host,
    );
  };
  build();
  const resized = new ResizeObserver(build);
  resized.observe(host);
  return () => {
    resized.disconnect();
    chart?.destroy();
  };
}

function look({ key }: Overlay, at: number): uPlot.Series {
  const dash = key === "now" ? null : DASHES[at % DASHES.length];
  return {
    stroke: token(key === "now" ? "--focus" : "--text-quiet"),
    width: key === "now" ? rem() / 5 : rem() / 10,
    ...(dash ? { dash: dash.map((part) => part * rem()) } : {}),
    points: { show: false },
    spanGaps: true,
  };
}
