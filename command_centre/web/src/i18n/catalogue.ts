/**
 * Every text people read, Chinese and English side by side: a key cannot exist in one language only.
 *
 * The words here come with every page; those of one view come with that view's chunk, which calls `speak` when it
 * loads. The types know them all, so a key that exists nowhere does not compile.
 */
import type { accountWords } from "./account.catalogue";
import type { boardWords } from "./board.catalogue";
import type { cityWords } from "./city.catalogue";
import type { deskWords } from "./desk.catalogue";
import type { fieldWords } from "./field.catalogue";
import type { floodWords } from "./flood.catalogue";
import type { incidentWords } from "./incident.catalogue";
import type { intakeWords } from "./intake.catalogue";
import type { loopWords } from "./loop.catalogue";
import type { publicWords } from "./public.catalogue";
import type { registerWords } from "./register.catalogue";
import type { screenWords } from "./screen.catalogue";
import type { settingsWords } from "./settings.catalogue";
import type { staffWords } from "./staff.catalogue";
import type { wallWords } from "./wall.catalogue";

export type Language = "zh" | "en";
export type Entry = readonly [zh: string, en: string];

export const coreWords = {
  "app.title": ["城市运行指挥中心", "Operations Command Centre"],
  "app.wall": ["大屏", "Wall"],
  "app.desk": ["值班台", "Duty desk"],
  "app.flood": ["防汛台", "Flood desk"],
  "app.field": ["现场", "Field"],
  "app.settings": ["设置", "Settings"],
  "app.report": ["我要反映", "Report"],
  "app.track": ["办理进度", "Follow a report"],
  "app.missing": ["找不到该页面", "There is no such page"],
  "app.views": ["页面", "Views"],
  "app.language": ["English", "中文"],
  "app.loading": ["正在载入…", "Loading…"],
  "app.more": ["另有 {n} 件", "{n} more"],
  "app.next": ["更多", "More"],
  "app.none": ["无", "None"],

  "live.now": ["实时 {n} s", "Live {n} s"],
  "live.connecting": ["正在连接指挥中心", "Connecting to the centre"],
  "live.stale": ["数据中断", "No live data"],
  "live.since": ["自 {time} 起未更新，以下均为旧数据", "nothing since {time}; all below is old"],
  "live.never": ["尚未收到任何数据", "nothing received yet"],

  "health.ingest.ok": ["采集正常", "Ingest ok"],
  "health.ingest.lagging": ["采集滞后 {n} s", "Ingest {n} s behind"],
  "health.ingest.down": ["采集中断", "Ingest down"],
  "health.broker.down": ["消息中断", "Broker down"],
  "health.database.down": ["数据库中断", "Database down"],
  "health.old": ["感知数据自 {time} 起未更新", "No sensor data since {time}"],
  "health.unknown": ["系统状态未知", "System state unknown"],
  "health.quarantined": ["隔离 {n}/小时", "{n} quarantined/h"],
  "health.unclaimed": ["待认领设备 {n}", "{n} unclaimed devices"],
  "health.disk.little": ["磁盘将满", "Disk nearly full"],
  "health.disk.none": ["磁盘已满，采集暂停", "Disk full, ingest holds back"],
  "health.uplink.cut": ["上联线路自 {time} 起中断，{n} 条读数待上报", "Line to the city cut since {time}, {n} readings wait"],
  "health.uplink.stopped": ["上联程序未运行，{n} 条读数待上报", "Uplink not running, {n} readings wait"],
  "health.uplink.behind": ["正在向市级补报，余 {n} 条", "Catching up with the city, {n} left"],
  "health.runbook": ["查看处置步骤", "What to do, step by step"],
  "health.dropped": ["消息丢弃 {n}", "{n} messages dropped"],

  "response.level": ["{level}级应急响应", "Response level {level}"],
  "flood.banner": ["报警洪峰：10 分钟 {n} 条", "Alarm flood: {n} in 10 min"],

  "sound.on": ["声音已开", "Sound on"],
  "sound.muted": ["静音 {time}", "Muted {time}"],
  "sound.blocked": ["点击开启声音", "Click for sound"],
  "sound.mute": ["静音 10 分钟", "Mute for 10 minutes"],
  "sound.unmute": ["恢复声音", "Sound on again"],

  "class.A": ["特急", "Critical"],
  "class.B": ["紧急", "Urgent"],
  "class.C": ["一般", "Routine"],

  "incidents.title": ["未结事件", "Open incidents"],
  "incidents.none": ["无未结事件", "No open incidents"],
  "incidents.unassigned": ["未分派 {n}", "Unassigned {n}"],
  "incidents.unacknowledged": ["待签收 {n}", "To acknowledge {n}"],
  "incident.exercise": ["演练", "Exercise"],
  "drill.word": ["演练", "EXERCISE"],
  "drill.running": ["{name}，{n} 台设备，至 {time}", "{name}, {n} devices, until {time}"],
  "drill.open": ["演练事件 {n} 件", "{n} exercise incidents"],
  "silent.SHLVD": ["搁置报警 {n}", "{n} alarms shelved"],
  "silent.DSUPR": ["抑制报警 {n}", "{n} suppressed"],
  "silent.OOSRV": ["停用设备报警 {n}", "{n} out of service"],
  "incident.unassigned": ["未分派", "Unassigned"],
  "incident.waiting": ["待签收", "Waiting"],
  "incident.acknowledged": ["已签收", "Acknowledged"],

  "deadlines.title": ["处置时限", "Deadlines"],
  "deadlines.none": ["无未到期时限", "No deadlines running"],
  "deadlines.overdue": ["超时 {n} 件", "{n} overdue"],
  "deadline.overdue": ["超时", "overdue"],
  "water.title": ["水位", "Water level"],
  "water.none": ["无水位站", "No water stations"],
  "water.above": ["超警戒 {n} 站", "{n} above warning"],
  "water.silent": ["无数据 {n} 站", "{n} silent"],
  "water.unset": ["未设警戒 {n} 站", "{n} without levels"],
  "water.warning": ["警戒", "Warning"],
  "water.guaranteed": ["保证", "Guaranteed"],
  "water.state.normal": ["距警戒 {m} m", "{m} m below warning"],
  "water.state.warning": ["超警戒 {m} m", "{m} m above warning"],
  "water.state.guaranteed": ["超保证水位", "Above guaranteed"],
  "water.state.record": ["超历史最高", "Above highest recorded"],
  "water.state.unset": ["未设警戒水位", "No warning level set"],
  "water.state.silent": ["无数据", "Silent"],
  "water.noseries": ["无水位过程线", "No series"],
  "water.suspect.flat": ["读数不变", "gauge stands still"],
  "water.suspect.step": ["水位突变待核对", "level jumped, check it"],
  "water.reach": ["约 {time}后达警戒", "reaches it in about {time}"],

  "online.title": ["在线率", "Devices online"],
  "online.offline": ["离线 {n}", "{n} offline"],
  "online.none": ["无已登记设备", "No devices registered"],
  "online.more": ["另有 {n} 类", "{n} more kinds"],

  "map.title": ["网格态势", "Grid map"],
  "map.blind": ["失联网格 {n}", "{n} blind cells"],
  "map.unset": ["未设感知 {n}", "{n} cells without devices"],
  "map.nothing": ["尚无网格边界", "No cell has an outline yet"],
  "map.unplaced": ["无边界网格 {n}", "{n} cells without outline"],
  "map.unplacedMore": ["另有 {n} 个", "{n} more"],
  "map.nowhere": ["位置不明", "Place unknown"],
  "map.failed": ["地图未能载入，重试中", "The map did not load; trying again"],

  "error.network": ["无法连接指挥中心，请检查网络后重试", "The centre cannot be reached; check the network and try again"],
  "error.status": ["请求失败（{status}）", "The request failed ({status})"],
} satisfies Record<string, Entry>;

export type Key =
  | keyof typeof coreWords
  | keyof typeof accountWords
  | keyof typeof boardWords
  | keyof typeof cityWords
  | keyof typeof deskWords
  | keyof typeof fieldWords
  | keyof typeof floodWords
  | keyof typeof incidentWords
  | keyof typeof intakeWords
  | keyof typeof loopWords
  | keyof typeof publicWords
  | keyof typeof registerWords
  | keyof typeof screenWords
  | keyof typeof settingsWords
  | keyof typeof staffWords
  | keyof typeof wallWords;

const known: Record<string, Entry> = { ...coreWords };

/** Adds the words of a view; called once by its chunk. */
export function speak(...books: readonly Record<string, Entry>[]): void {
  Object.assign(known, ...books);
}

export function isKey(key: string): key is Key {
  return Object.hasOwn(known, key);
}

/** The text of `key`; `{name}` places are filled from `values`. A key whose view has not spoken shows itself. */
export function text(key: Key, language: Language, values: Record<string, string | number> = {}): string {
  const template = known[key]?.[language === "zh" ? 0 : 1] ?? key;
  return template.replace(/\{(\w+)\}/g, (place, name: string) => String(values[name] ?? place));
}
