/** What the centre says of a report under its tracking number, and asking for it. */
import { call, seg } from "../http";

export interface Words {
  zh: string;
  en: string;
}

export interface Step extends Words {
  step: string;
  at: string | null;
  done: boolean;
  current: boolean;
}

export const MARKS = ["response", "result", "manner"] as const;
export type Mark = (typeof MARKS)[number];

export interface Progress {
  tracking: string;
  received_at: string;
  nature: string;
  category: Words | null;
  address: string;
  text: string;
  photos: number;
  state: Words & { code: string };
  steps: Step[];
  due_at: string | null;
  answer: { at: string; text: string } | null;
  rating: (Partial<Record<Mark, number>> & { comment?: string }) | null;
  reopened_at: string | null;
  may: { add: boolean; rate: boolean; reopen: boolean };
}

const path = (number: string) => `/api/reports/${seg(number)}`;

export const tracking = {
  progress: (number: string) => call<Progress>("GET", path(number)),
  more: (number: string) => `${path(number)}/more`,
  rate: (number: string, marks: Record<Mark, number>, comment: string) =>
    call<Progress>("POST", `${path(number)}/rating`, { ...marks, ...(comment ? { comment } : {}) }),
  reopen: (number: string, reason: string) => call<Progress>("POST", `${path(number)}/reopen`, { reason }),
  forget: (number: string) => call<null>("DELETE", `${path(number)}/contact`),
};

const LETTERS = /[^0-9A-Z]/g;

/** As it is printed: 4-4-4-5, those of an earlier release 4-4-5, without what people put between; O is 0, I and L are 1. */
export function written(typed: string): string {
  const plain = typed.toUpperCase().replace(LETTERS, "").replace(/O/g, "0").replace(/[IL]/g, "1");
  const last = plain.length > 13 ? 12 : 8;
  return [plain.slice(0, 4), plain.slice(4, 8), plain.slice(8, last), plain.slice(last)].filter((part) => part !== "").join("-");
}

export function complete(typed: string): boolean {
  return [15, 20].includes(written(typed).length);
}
