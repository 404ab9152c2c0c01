/** A CAP 1.2 message as a reader sees it; the browser's own parser, which loads nothing. */

export interface CapInfo {
  language: string;
  event: string;
  headline: string;
  description: string;
  instruction: string;
  severity: string;
  urgency: string;
  certainty: string;
  responses: string[];
  senderName: string;
  effective: string;
  onset: string;
  expires: string;
  parameters: [name: string, value: string][];
  areas: { name: string; polygons: number; codes: number }[];
}

export interface CapMessage {
  identifier: string;
  sender: string;
  sent: string;
  status: string;
  messageType: string;
  references: string[];
  note: string;
  infos: CapInfo[];
}

/** Null when it is no well-formed XML. */
export function readCap(xml: string): CapMessage | null {
  const tree = new DOMParser().parseFromString(xml, "application/xml");
  if (tree.querySelector("parsererror")) return null;
  return messageIn(tree.documentElement);
}

const children = (of: Element, name: string): Element[] => [...of.children].filter((one) => one.localName === name);
const text = (of: Element, name: string): string => children(of, name)[0]?.textContent?.trim() ?? "";

function messageIn(alert: Element): CapMessage {
  return {
    identifier: text(alert, "identifier"),
    sender: text(alert, "sender"),
    sent: text(alert, "sent"),
    status: text(alert, "status"),
    messageType: text(alert, "msgType"),
    references: text(alert, "references").split(/\s+/).filter((part) => part !== ""),
    note: text(alert, "note"),
    infos: children(alert, "info").map(infoIn),
  };
}

function infoIn(info: Element): CapInfo {
  return {
    language: text(info, "language"),
    event: text(info, "event"),
    headline: text(info, "headline"),
    description: text(info, "description"),
    instruction: text(info, "instruction"),
    severity: text(info, "severity"),
    urgency: text(info, "urgency"),
    certainty: text(info, "certainty"),
    responses: children(info, "responseType").map((one) => one.textContent?.trim() ?? ""),
    senderName: text(info, "senderName"),
    effective: text(info, "effective"),
    onset: text(info, "onset"),
    expires: text(info, "expires"),
    parameters: children(info, "parameter").map((one) => [text(one, "valueName"), text(one, "value")]),
    areas: children(info, "area").map((area) => ({
      name: text(area, "areaDesc"),
      polygons: children(area, "polygon").length,
      codes: children(area, "geocode").length,
    })),
  };
}
