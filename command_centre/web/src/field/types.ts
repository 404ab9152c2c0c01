/** What the field works with: the centre's own shapes, and what a telephone keeps beside them. */
import type { Shapes } from "../api/shapes";

export type Day = Shapes["FieldDay"];
export type Order = Shapes["FieldOrder"];
export type Call = Shapes["FieldCall"];
export type Task = Shapes["FieldTask"];

export interface PatrolPoint {
  code: string;
  name: string;
  cell: string | null;
  building: string;
  longitude: number | null;
  latitude: number | null;
  checklist: string;
  cadence: "daily" | "weekly" | "monthly";
  standing: "done" | "due" | "overdue" | "rest";
  due_at: string | null;
  missed: number;
  checked_at: string | null;
}

export interface PatrolRoute {
  code: string;
  name: string;
  name_en: string;
  points: PatrolPoint[];
}

export interface ListItem {
  code: string;
  name: string;
  name_en: string;
}

export interface Checklist {
  code: string;
  name: string;
  name_en: string;
  items: ListItem[];
}

/** Degrees, WGS 84. */
export interface Spot {
  longitude: number;
  latitude: number;
}

/** A photo as the telephone keeps it until it is sent. Bytes and no Blob: some browsers lose those when killed. */
export interface KeptPhoto {
  bytes: ArrayBuffer;
  name: string;
}

export type Kind = "incident" | "call" | "task" | "check" | "report";

/** What the telephone believed of an incident when somebody acted on it. */
export interface Believed {
  unit: string | null;
  reworks: number;
  dispatched_at: string | null;
}

/** Why something was not taken: the centre's words, or how the order has changed meanwhile. */
export interface Trouble {
  status: number;
  zh: string;
  en: string;
  why: "refused" | "moved" | "rework" | "again";
  /** Of the unit that has it now, to ask. */
  phone?: string;
}

export interface Draft {
  kind: Kind;
  /** What must stay in order among themselves: "incident:17". */
  target: string;
  action: string;
  /** Number or name, as people know it. */
  title: string;
  body: Record<string, unknown>;
  done_at: string;
  believed?: Believed;
}

export interface Entry extends Draft {
  seq: number;
  /** Idempotency-Key: the same in every try. */
  key: string;
  /** Numbers of its photos, each with the item of a checklist it belongs to, "" for the whole. */
  photos: { id: number; item: string }[];
  /** Of the incident at the first try: what was done to it in between is noticed. */
  version?: number;
  tries: number;
  trouble?: Trouble;
}

/** What the centre has taken. */
export interface Sent {
  seq: number;
  kind: Kind;
  target: string;
  action: string;
  title: string;
  done_at: string;
  sent_at: string;
  /** A colleague had done it already. */
  already: boolean;
}
