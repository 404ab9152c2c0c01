// The published Zigbee2MQTT with a radio that does not exist: what it publishes is its own, only zigbee-herdsman's
// Controller (the stick) is played here. In an empty folder `npm install zigbee2mqtt@2.14.1`, then
// `node bench/zigbee2mqtt_without_radio.js THAT_FOLDER mqtt://127.0.0.1:1883`. A detector, a leak sensor and a plug
// report, two of them alarm, the detector is renamed through Zigbee2MQTT's own request, clears, and the bridge dies.
"use strict";
const { EventEmitter } = require("node:events");
const fs = require("node:fs");
const Module = require("node:module");
const os = require("node:os");
const path = require("node:path");

const [folder, server] = process.argv.slice(2);
if (!folder || !server) {
  console.error("usage: node bench/zigbee2mqtt_without_radio.js FOLDER mqtt://host:port");
  process.exit(2);
}
const at = Module.createRequire(path.join(path.resolve(folder), "any.js"));
const data = fs.mkdtempSync(path.join(os.tmpdir(), "zigbee2mqtt-"));
process.env.ZIGBEE2MQTT_DATA = data;
fs.writeFileSync(
  path.join(data, "configuration.yaml"),
  `version: 5
mqtt: { base_topic: zigbee2mqtt, server: "${server}" }
serial: { port: /dev/null, adapter: zstack }
availability: { enabled: true }
frontend: { enabled: false }
homeassistant: { enabled: false }
advanced: { last_seen: epoch, pan_id: 6754, log_level: warning, log_output: [console] }
devices:
  "0x00158d0001d64498": { friendly_name: block 3/stairs }
  "0x00158d0001bb8d12": { friendly_name: pump room }
  "0x00158d00018255df": { friendly_name: plug }
`,
);

const herdsman = at("zigbee-herdsman");
const { Clusters } = herdsman.Zcl;

class Endpoint {
  constructor(ID, deviceIeeeAddress, clusters) {
    const none = [];
    Object.assign(this, { ID, deviceIeeeAddress, names: clusters, binds: none, configuredReportings: none, meta: {} });
    this.inputClusters = clusters.map((name) => Clusters[name].ID);
    this.outputClusters = [];
  }
  getInputClusters() {
    return this.names.map((name) => ({ name, ID: Clusters[name].ID }));
  }
  getOutputClusters() {
    return [];
  }
  supportsInputCluster(name) {
    return this.names.includes(name);
  }
  supportsOutputCluster() {
    return false;
  }
  getClusterAttributeValue() {}
  saveClusterAttributeKeyValue() {}
  getDevice() {
    return this.device;
  }
  hasPendingRequests() {
    return false;
  }
  async read() {
    return {};
  }
  async write() {}
  async command() {}
  async bind() {}
  async configureReporting() {}
}

function device(ieeeAddr, modelID, clusters, more = {}) {
  const made = {
    ieeeAddr, modelID, manufacturerName: "LUMI", networkAddress: 4711, type: "EndDevice", powerSource: "Battery",
    interviewing: false, interviewCompleted: true, interviewState: "SUCCESSFUL", isDeleted: false, meta: {},
    customClusters: {}, lastSeen: Date.now(), linkquality: 120, manufacturerID: 4151, save() {}, async ping() {},
    hasPendingRequests: () => false, getEndpoint: (ID) => made.endpoints.find((one) => one.ID === ID), ...more,
  };
  made.endpoints = clusters.map((names, index) => new Endpoint(index + 1, ieeeAddr, names));
  for (const one of made.endpoints) one.device = made;
  return made;
}

const SMOKE = device("0x00158d0001d64498", "lumi.sensor_smoke", [["genBasic", "ssIasZone"]]);
const LEAK = device("0x00158d0001bb8d12", "lumi.sensor_wleak.aq1", [["genBasic", "ssIasZone"]]);
const MAINS = { type: "Router", powerSource: "Mains (single phase)" };
const PLUG = device("0x00158d00018255df", "lumi.plug", [["genBasic", "genOnOff"], ["genAnalogInput"]], MAINS);
const STICK = device("0x00124b00120144ae", null, [[]], { type: "Coordinator", powerSource: null });
const ALL = [STICK, SMOKE, LEAK, PLUG];

class Radio extends EventEmitter {
  constructor() {
    super();
    Radio.only = this;
  }
  async start() {
    return "resumed";
  }
  async stop() {}
  isStopping() {
    return false;
  }
  getDevicesByType(type) {
    return ALL.filter((one) => one.type === type);
  }
  getDeviceByIeeeAddr(address) {
    return ALL.find((one) => one.ieeeAddr === address);
  }
  getGroupByID() {}
  *getDevicesIterator(wanted) {
    for (const one of ALL) if (!wanted || wanted(one)) yield one;
  }
  *getGroupsIterator() {}
  getPermitJoin() {
    return false;
  }
  getPermitJoinEnd() {}
  async getCoordinatorVersion() {
    return { type: "none", meta: {} };
  }
  async getNetworkParameters() {
    return { panID: 6754, extendedPanID: "0xdddddddddddddddd", channel: 11, nwkUpdateID: 0 };
  }
}

require.cache[at.resolve("zigbee-herdsman")].exports = { ...herdsman, Controller: Radio };
const { Controller } = at("zigbee2mqtt/dist/controller");
at("zigbee2mqtt/dist/util/settings").reRead();

function hear(from, endpoint, cluster, type, said) {
  from.lastSeen = Date.now();
  const meta = { zclTransactionSequenceNumber: 1, frameControl: {} };
  Radio.only.emit("lastSeenChanged", { device: from, reason: "messageEmitted" });
  Radio.only.emit("message", {
    type, device: from, endpoint: from.getEndpoint(endpoint), linkquality: 120, groupID: 0, cluster, data: said, meta,
  });
}
const zone = (from, zonestatus) =>
  hear(from, 1, "ssIasZone", "commandStatusChangeNotification", { zonestatus, extendedstatus: 0 });
const wait = (seconds) => new Promise((done) => setTimeout(done, seconds * 1000));

async function main() {
  await new Controller(async () => {}, async (code) => process.exit(code)).start();
  zone(SMOKE, 0);
  hear(PLUG, 1, "genOnOff", "attributeReport", { onOff: 1 });
  hear(PLUG, 2, "genAnalogInput", "attributeReport", { presentValue: 41.5 });
  await wait(2);
  zone(SMOKE, 1);
  zone(LEAK, 1);
  console.log("smoke and water reported");
  await wait(3);
  const person = at("mqtt").connect(server);
  const rename = JSON.stringify({ from: "block 3/stairs", to: "block 3/new stairs" });
  person.on("connect", () => person.publish("zigbee2mqtt/bridge/request/device/rename", rename));
  await wait(2);
  zone(SMOKE, 0);
  await wait(1);
  console.log("renamed and cleared; the bridge dies without a word");
  process.exit(0);
}
main();
