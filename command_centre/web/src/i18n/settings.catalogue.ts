import type { Entry } from "./catalogue";
import { auditWords } from "./audit.catalogue";
import { deviceHealthWords } from "./device_health.catalogue";
import { settingsDutiesWords } from "./settings_duties.catalogue";
import { settingsKeysWords } from "./settings_keys.catalogue";
import { settingsPeopleWords } from "./settings_people.catalogue";
import { settingsRulesWords } from "./settings_rules.catalogue";

/** Settings: rules, responsibility list, calendar, users, quarantine, health. */
export const settingsWords = {
  ...auditWords,
  ...deviceHealthWords,
  ...settingsRulesWords,
  ...settingsKeysWords,
  ...settingsDutiesWords,
  ...settingsPeopleWords,
} satisfies Record<string, Entry>;
