/** Words of a screen that is not let in: on the wall and on the views behind the log-in. */
import type { Entry } from "./catalogue";

export const screenWords = {
  "refused.session": ["登录已结束", "The log-in has ended"],
  "refused.session.remedy": ["请重新登录", "Log in again"],
  "refused.unpaired": ["本屏尚未配对", "This screen is not paired"],
  "refused.unpaired.remedy": [
    "请管理员在“设置 · 屏幕”中生成配对地址，并在本屏打开",
    "An administrator makes a pairing address under Settings, Screens; open it on this screen",
  ],
  "refused.pairing": ["配对地址已用过或已过期", "This pairing address was used before or is too old"],
  "refused.pairing.remedy": ["请管理员重新生成配对地址", "Ask an administrator for a fresh one"],
  "refused.scope": ["没有这个区域，或本屏无权查看", "There is no such area, or it is not this screen's"],
  "refused.scope.remedy": ["请检查地址中的 scope 参数", "Check scope= in the address"],
  "refused.expired": ["本屏的访问期限已到", "This screen's access has ended"],
  "refused.expired.remedy": [
    "以下为旧数据；请管理员在“设置 · 屏幕”中延长期限，本屏会自动恢复",
    "What is shown is old; an administrator extends it under Settings, Screens, and it goes on by itself",
  ],
  "refused.revoked": ["本屏的访问权已收回", "This screen's access was withdrawn"],
  "refused.revoked.remedy": ["如需恢复，请管理员重新配对", "To have it back, an administrator pairs it anew"],
  "refused.full": ["连接的屏幕已满", "Too many screens are connected"],
  "refused.full.remedy": ["稍后自动重试；请关闭不用的屏幕", "Tried again soon; close screens that nobody needs"],
  "refused.screen": ["屏幕：{name}", "Screen: {name}"],
} satisfies Record<string, Entry>;
