import type { Entry } from "./catalogue";

/** Settings: who saw and did what. */
export const auditWords = {
  "audited.filter": ["筛选", "Filter"],
  "audited.actor": ["操作者编号", "Who, by number"],
  "audited.who": ["操作者", "Who"],
  "audited.action": ["操作", "Action"],
  "audited.object": ["对象", "What it was done to"],
  "audited.from": ["自", "From"],
  "audited.to": ["至", "Until"],
  "audited.at": ["时间", "When"],
  "audited.reason": ["事由与内容", "Why, and what"],
  "audited.seq": ["链序号", "Place in the chain"],
  "audited.request": ["请求编号", "Call"],
  "audited.waiting": ["待入链", "not chained yet"],
  "audited.erased": ["内容已依法删除，记录仍可验证", "what it said was erased; the entry still proves"],
  "audited.none": ["没有符合条件的记录", "No entry is like that"],
  "audited.csv": ["导出 CSV", "Take out as CSV"],
  "audited.state": ["已入链 {chained} 条，待入链 {waiting} 条；链末 {head}", "{chained} entries chained, {waiting} waiting; the chain ends in {head}"],
  "audited.watched": ["查阅和导出本页也会被记录。", "Looking here and taking a file out are recorded as well."],
} as const satisfies Record<string, Entry>;
