import type { Entry } from "./catalogue";

/** Settings: the frame of all sections; devices, cells, units, screens, import. */
export const registerWords = {
  "section.devices": ["设备", "Devices"],
  "section.areas": ["区域与网格", "Areas and cells"],
  "section.units": ["单位", "Units"],
  "section.import": ["导入", "Import"],
  "section.screens": ["屏幕", "Screens"],
  "section.rules": ["报警规则", "Rules"],
  "section.responsibilities": ["职责清单", "Responsibilities"],
  "section.calendar": ["工作日历", "Calendar"],
  "section.users": ["用户与角色", "Users and roles"],
  "section.quarantine": ["隔离消息", "Quarantine"],
  "section.health": ["系统状况", "System health"],
  "settings.nothing": ["您的角色没有可设置的内容", "There is nothing to set up for your role"],
} satisfies Record<string, Entry>;
