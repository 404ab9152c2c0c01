import type { Entry } from "./catalogue";

/** What only the wall of a whole city says. */
export const cityWords = {
  "city.open": ["未结事件", "Open incidents"],
  "city.districts": ["各区", "Districts"],
  "city.district": ["区", "District"],
  "city.overdue": ["超时", "Overdue"],
  "city.alarms": ["告警", "Alarms"],
  "city.online": ["设备在线", "Online"],
  "city.devices": ["设备", "Devices"],
  "city.water": ["超警戒测站", "Above warning"],
  "city.response": ["响应", "Response"],
  "city.responseUnknown": ["{n} 个区响应级别不明", "level unknown in {n} districts"],
  "city.map": ["各区分布", "Map of the districts"],
  "city.noMap": ["未配置区界", "No outlines configured"],
  "city.all": ["{n} 个区全部应答", "All {n} districts answer"],
  "city.some": ["仅 {n}/{all} 个区应答，合计不含未应答区", "{n} of {all} districts answer; sums are of these alone"],
  "city.silentSince": ["自 {time} 起无应答", "silent since {time}"],
  "city.silentEver": ["尚未应答", "has not answered yet"],
  "city.none": ["本中心未配置多区", "No districts are configured here"],
  "city.reading": ["正在读取各区", "Reading the districts"],
  "city.old": ["全市数据未能更新", "City figures not updated"],
  "city.more": ["另有 {n} 个", "{n} more"],
} satisfies Record<string, Entry>;
