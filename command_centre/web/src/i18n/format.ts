/** Times and numbers as people read them. Times go in as epoch milliseconds and come out in `timeZone`. */
import type { Language } from "./catalogue";

const LOCALES: Record<Language, string> = { zh: "zh-CN", en: "en-GB" };
const formatters = new Map<string, Intl.DateTimeFormat>();

function formatter(language: Language, timeZone: string, options: Intl.DateTimeFormatOptions) {
  const key = `${language} ${timeZone} ${JSON.stringify(options)}`;
  let found = formatters.get(key);
  if (!found) {
    found = new Intl.DateTimeFormat(LOCALES[language], { timeZone, hourCycle: "h23", ...options });
    formatters.set(key, found);
  }
  return found;
}

export function clockTime(ms: number, language: Language, timeZone: string): string {
  return formatter(language, timeZone, { hour: "2-digit", minute: "2-digit", second: "2-digit" }).format(ms);
}

export function hourMinute(ms: number, language: Language, timeZone: string): string {
  return formatter(language, timeZone, { hour: "2-digit", minute: "2-digit" }).format(ms);
}

export function calendarDate(ms: number, language: Language, timeZone: string): string {
  return formatter(language, timeZone, { month: "short", day: "numeric", weekday: "short" }).format(ms);
}

export function dateTime(ms: number, language: Language, timeZone: string): string {
  return formatter(language, timeZone, {
    year: "numeric",
    month: "2-digit",
    day: "2-digit",
    hour: "2-digit",
    minute: "2-digit",
    second: "2-digit",
  }).format(ms);
}

export function dateMinute(ms: number, language: Language, timeZone: string): string {
  return formatter(language, timeZone, {
    year: "numeric",
    month: "2-digit",
    day: "2-digit",
    hour: "2-digit",
    minute: "2-digit",
  }).format(ms);
}

/** "4:05" below an hour, "3:04:05" below a day, then "2 天 3 时" / "2 d 3 h"; never negative. */
export function duration(ms: number, language: Language): string {
  const seconds = Math.floor(Math.abs(ms) / 1000);
  const two = (n: number) => String(n).padStart(2, "0");
  const [s, m, h] = [seconds % 60, Math.floor(seconds / 60) % 60, Math.floor(seconds / 3600)];
  if (h < 1) return `${m}:${two(s)}`;
  if (h < 24) return `${h}:${two(m)}:${two(s)}`;
  const [days, hours] = [Math.floor(h / 24), h % 24];
  return language === "zh" ? `${days}天${hours}时` : `${days} d ${hours} h`;
}

/** A time that is only about right: five minutes are the finest step of a forecast. "2 h 10 min"; never 0. */
export function aboutHours(ms: number, language: Language): string {
  const minutes = Math.max(5, Math.round(ms / 300_000) * 5);
  const [h, m] = [Math.floor(minutes / 60), minutes % 60];
  const [hours, rest] = language === "zh" ? [`${h} 小时`, `${m} 分钟`] : [`${h} h`, `${m} min`];
  return [h > 0 ? hours : "", m > 0 ? rest : ""].filter((part) => part !== "").join(" ");
}

export function metres(value: number): string {
  return value.toFixed(2);
}

export function count(value: number, language: Language): string {
  return value.toLocaleString(LOCALES[language]);
}

export function monthDay(ms: number, language: Language, timeZone: string): string {
  return formatter(language, timeZone, { month: "short", day: "numeric" }).format(ms);
}
