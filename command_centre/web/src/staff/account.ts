/** What a person asks of the centre about their own account. */
import type { Shapes } from "../api/shapes";
import { call } from "../http";

export const account = {
  ways: () => call<Shapes["LogInWays"]>("GET", "/api/session/ways"),
  prove: (password: string, code: string) => call<unknown>("POST", "/api/session/prove", { password, code }),
  factor: () => call<Shapes["FactorState"]>("GET", "/api/me/second-factor"),
  beginFactor: () => call<Shapes["FactorBegun"]>("POST", "/api/me/second-factor"),
  confirmFactor: (code: string) => call<Shapes["RecoveryCodes"]>("POST", "/api/me/second-factor/confirm", { code }),
  freshCodes: (code: string) => call<Shapes["RecoveryCodes"]>("POST", "/api/me/second-factor/codes", { code }),
  removeFactor: (code: string) => call<unknown>("POST", "/api/me/second-factor/remove", { code }),
  sessions: () => call<Shapes["SessionPage"]>("GET", "/api/me/sessions"),
  endSession: (id: number) => call<unknown>("DELETE", `/api/me/sessions/${id}`),
  endOthers: () => call<unknown>("DELETE", "/api/me/sessions"),
};
