/** The district's outlines to tap on: one canvas, a pin, and a part of the ground shown larger. */
import type { Point } from "../map/projection";
import { place, type Ground, type Placed } from "../map/shapes";
import { zoomed } from "./place";

export class PlaceMap {
  pin: Point | null = null;
  /** 1 is the whole district. */
  factor = 1;
  private centre: Point;
  private placed: Placed | null = null;
  private readonly context: CanvasRenderingContext2D;

  constructor(
    private readonly canvas: HTMLCanvasElement,
    private readonly ground: Ground,
    private readonly named: (zh: string, en: string) => string,
  ) {
    const context = canvas.getContext("2d");
    if (!context) throw new Error("this browser gives no 2D canvas");
    this.context = context;
    const [west, south, east, north] = ground.bbox;
    this.centre = [(west + east) / 2, (south + north) / 2];
  }

  get middle(): Point {
    return this.centre;
  }

  /** Degrees under a point of the page. */
  at(clientX: number, clientY: number): Point | null {
    if (!this.placed) return null;
    const box = this.canvas.getBoundingClientRect();
    const scale = this.canvas.width / box.width;
    return [this.placed.lon((clientX - box.left) * scale), this.placed.lat((clientY - box.top) * scale)];
  }

  /** Shows the surroundings of a point; draws. */
  look(centre: Point, factor: number): void {
    this.centre = centre;
    this.factor = Math.min(Math.max(factor, 1), 32);
    this.draw();
  }

  draw(): void {
    const ratio = window.devicePixelRatio || 1;
    const { width, height } = this.canvas.getBoundingClientRect();
    this.canvas.width = Math.max(1, Math.round(width * ratio));
    this.canvas.height = Math.max(1, Math.round(height * ratio));
    const box = zoomed(this.ground.bbox, this.centre, this.factor);
    const placed = place({ ...this.ground, bbox: box }, this.canvas.width, this.canvas.height, 4 * ratio);
    this.placed = placed;
    const style = getComputedStyle(this.canvas);
    const colour = (name: string) => style.getPropertyValue(name).trim();
    const { context } = this;
    context.lineWidth = Math.max(1, ratio / 2);
    context.fillStyle = colour("--panel-raised");
    context.strokeStyle = colour("--line");
    for (const { path } of placed.cells.values()) {
      context.fill(path, "evenodd");
      context.stroke(path);
    }
    context.strokeStyle = colour("--neutral");
    context.lineWidth = 1.5 * ratio;
    for (const { shape } of placed.streets) context.stroke(shape.path);
    this.names(placed, ratio, colour("--text"), colour("--panel-raised"), style.fontFamily);
    if (this.pin) this.drawPin(placed.x(this.pin[0]), placed.y(this.pin[1]), ratio, colour("--red"));
  }

  private names(placed: Placed, ratio: number, ink: string, halo: string, family: string): void {
    const { context } = this;
    context.font = `500 ${14 * ratio}px ${family}`;
    context.textAlign = "center";
    context.textBaseline = "middle";
    context.lineJoin = "round";
    for (const { ground, shape } of placed.streets) {
      const name = this.named(ground.name, ground.name_en);
      const half = context.measureText(name).width / 2 + 2 * ratio;
      const [x, y] = shape.middle;
      if (x < half || x > this.canvas.width - half || y < 10 * ratio || y > this.canvas.height - 10 * ratio) continue;
      context.strokeStyle = halo;
      context.lineWidth = 3 * ratio;
      context.strokeText(name, x, y);
      context.fillStyle = ink;
      context.fillText(name, x, y);
    }
  }

  private drawPin(x: number, y: number, ratio: number, colour: string): void {
    const { context } = this;
    const r = 8 * ratio;
    context.beginPath();
    context.moveTo(x, y);
    context.lineTo(x - r * 0.85, y - r * 1.6);
    context.arc(x, y - r * 2, r, Math.PI * 0.85, Math.PI * 2.15);
    context.closePath();
    context.fillStyle = colour;
    context.fill();
    context.strokeStyle = "#fff";
    context.lineWidth = 2 * ratio;
    context.stroke();
    context.beginPath();
    context.arc(x, y - r * 2, r * 0.35, 0, Math.PI * 2);
    context.fillStyle = "#fff";
    context.fill();
  }
}
