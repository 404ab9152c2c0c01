"""Recorded rivers, smoke and foreign payloads through the broker into the running product: what did it make of them?

``python -m bench.recorded [--shared FOLDER] [--out FOLDER]`` on TimescaleDB and mosquitto. Prints alarms and
incidents with their times and takes a picture of the wall at the peak of the July 2013 flood on the Han.
"""

import argparse
import csv
import json
import os
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import paho.mqtt.client as mqtt
import psycopg
from paho.mqtt.enums import CallbackAPIVersion
from playwright.sync_api import sync_playwright
from rich.console import Console
from rich.table import Table

from bench.load import ROOT
from bench.product import Product
from tests.servers.chromium import chromium_binary
from tests.servers.mosquitto import MosquittoServer
from tests.servers.postgres import PostgresServer
from tests.servers.timescale import SETTINGS, timescale_binaries

STATIONS = (
    ("kr-1018662-cheongdam", "清潭大桥", "Cheongdam", "han-1", 6.0, 7.0),
    ("kr-1019630-haengju", "幸州大桥", "Haengju", "han-2", 5.0, 5.5),
)
FLOOD = (datetime(2013, 7, 1, tzinfo=UTC), datetime(2013, 8, 1, tzinfo=UTC))
PEAK = datetime(2013, 7, 15, 13, 0, tzinfo=UTC)
QUIET = (datetime(2014, 6, 1, tzinfo=UTC), datetime(2014, 7, 1, tzinfo=UTC))
CHROMIUM = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
)
console = Console(width=140)


def district(folder: Path) -> Path:
    """The two stations as a district: two cells, one unit, the derived thresholds as warning and guaranteed level."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "district.toml").write_text(
        'code = "han"\nname = "汉江"\nname_en = "Han"\ntimezone = "Asia/Seoul"\n', encoding="utf-8"
    )
    outline = [
        ("district", "han", None, 0, 3),
        ("street", "han-s", "han", 0, 3),
        ("community", "han-m", "han-s", 0, 3),
    ]
    cells = [("cell", f"han-{n}", "han-m", n - 1, n) for n in (1, 2, 3)]
    features = [
        {
            "type": "Feature",
            "properties": {"layer": layer, "code": code, "parent": parent, "name": code, "name_en": code},
            "geometry": {
                "type": "Polygon",
                "coordinates": [
                    [
                        [126.8 + west * 0.1, 37.5],
                        [126.8 + east * 0.1, 37.5],
                        [126.8 + east * 0.1, 37.6],
                        [126.8 + west * 0.1, 37.6],
                        [126.8 + west * 0.1, 37.5],
                    ]
                ],
            },
        }
        for layer, code, parent, west, east in outline + cells
    ]
    (folder / "areas.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    headers = {
        "devices": "code,kind,name,cell,lon,lat,model,owner_unit,maintainer_unit,gateway,expected_interval_s,address",
        "stations": "code,station_kind,river,datum_m,warning_m,guaranteed_m,highest_m,upstream,travel_min",
        "units": "code,name,name_en,kind,parent,lead,phone,lead_phone,email,lead_email,webhook_url",
        "responsibilities": "category,area_layer,area,unit,class,limit_minutes,clock",
    }
    tables: dict[str, list[list[object]]] = {
        "devices": [
            [code, "water", name, cell, *[""] * 6, 600, ""] for code, name, _, cell, _, _ in STATIONS
        ],
        "stations": [
            [code, "river", "汉江", 0, low, high, "", "", ""] for code, _, _, _, low, high in STATIONS
        ],
        "units": [["u1", "三防办", "Flood office", "office", *[""] * 7]],
        "responsibilities": [
            [category, "", "", "u1", "", "", ""]
            for category in ("flood", "fire", "public", "device", "system")
        ],
    }
    for name, rows in tables.items():
        with (folder / f"{name}.csv").open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([headers[name].split(","), *rows])
    return folder


class Run:
    """One running product on one fresh database, and what it says of itself."""

    def __init__(self, name: str, server: PostgresServer, broker: MosquittoServer, folder: Path) -> None:
        self.database = server.url(server.create_database())
        self._broker = broker
        self.product = Product(
            folder / name,
            self.database,
            broker.url,
            retention_days="6000",
            mqtt_topics="#",
            mqtt_client_id=name,
        )
        self.product.prepare(district(folder / "district"))
        self.product.start_ingest()
        self.product.start_centre()
        self.product.wait_listening()

    def replay(self, path: Path, *options: str) -> dict[str, Any]:
        """``city replay``; returns its own count of what it sent, after ingest has it."""
        before = self._count()
        told: dict[str, Any] = json.loads(self.product.command("replay", str(path), *options, "--json"))
        deadline = time.monotonic() + 300
        stable = 0
        while stable < 10 and time.monotonic() < deadline:
            time.sleep(0.3)
            now = self._count()
            stable = stable + 1 if now == before else 0
            before = now
        return told

    def api(self, path: str) -> Any:
        answer = httpx.get(
            f"http://127.0.0.1:{self.product.http_port}{path}",
            headers={"Authorization": f"Bearer {self.product.token}"},
        )
        answer.raise_for_status()
        return answer.json()

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.database) as connection:
            return connection.execute(sql.encode()).fetchall()

    def _count(self) -> int:
        return int(self.rows("SELECT count(*) FROM observations")[0][0])

    def show_alarms(self, title: str) -> int:
        rows = self.rows(
            "SELECT a.rule_id, d.code, a.raised_at, a.cleared_at, a.repeats, a.late, a.triage, a.evidence ->> 'value'"
            " FROM alarms a JOIN devices d ON d.id = a.device_id WHERE a.rule_id NOT LIKE '%silent%'"
            " ORDER BY a.raised_at"
        )
        table = Table(
            "rule", "device", "raised", "cleared", "repeats", "late", "triage", "value", title=title
        )
        for rule, code, raised, cleared, repeats, late, triage, value in rows:
            table.add_row(rule, code, _short(raised), _short(cleared), str(repeats), str(late), triage, value)
        console.print(table)
        return len(rows)

    def show_incidents(self) -> None:
        table = Table(
            "number", "class", "category", "state", "cell", "unit", "opened", "due", "alarms", "reason"
        )
        for item in self.api("/api/incidents?limit=100")["items"]:
            table.add_row(
                *(
                    item["number"],
                    item["class"],
                    item["category"],
                    item["state"],
                    str(item["cell"]),
                    str(item["unit"]),
                ),
                *(
                    item["opened_at"][:19],
                    str(item["due_at"])[:19],
                    str(len(item["alarms"])),
                    item["reason_en"],
                ),
            )
        console.print(table)

    def picture(self, path: Path, width: int = 1920, height: int = 1080) -> None:
        """The wall as a person sees it after five seconds."""
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=str(chromium_binary()), args=list(CHROMIUM))
            page = browser.new_page(viewport={"width": width, "height": height})
            page.goto(f"http://127.0.0.1:{self.product.http_port}/wall")
            page.wait_for_timeout(6000)
            page.screenshot(path=str(path))
            browser.close()
        console.print(f"picture: {path}")

    def send(self, messages: list[tuple[str, bytes]]) -> None:
        client = mqtt.Client(CallbackAPIVersion.VERSION2)
        client.connect("127.0.0.1", self._broker.port)
        client.loop_start()
        for topic, payload in messages:
            client.publish(topic, payload, qos=1).wait_for_publish(10)
        client.disconnect()
        client.loop_stop()

    def close(self) -> None:
        self.product.stop()


def _short(moment: datetime | None) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M") if moment else "standing"


def _window(begin: datetime, end: datetime) -> list[str]:
    return ["--start", begin.strftime("%Y-%m-%dT%H:%M:%S"), "--end", end.strftime("%Y-%m-%dT%H:%M:%S")]


def rivers(run: Run, shared: Path) -> None:
    """A quiet month, then the flood, with the times they were measured at."""
    files = [shared / "water" / f"han_{name}_2012_2015.csv.gz" for name in ("cheongdam", "haengju")]
    for (_, _, _, cell, _, _), file in zip(STATIONS, files, strict=True):
        console.print("quiet month", run.replay(file, "--cell", cell, *_window(*QUIET)))
    console.print("alarms in the quiet month:", run.show_alarms("June 2014"))
    for (_, _, _, cell, _, _), file in zip(STATIONS, files, strict=True):
        console.print("flood", run.replay(file, "--cell", cell, *_window(*FLOOD)))
    run.show_alarms("June 2014 and July 2013, original times")
    run.show_incidents()


def peak(run: Run, shared: Path, out: Path) -> None:
    """The two days before the peak, moved so that the peak is now: this one pages."""
    for (_, _, _, cell, _, _), name in zip(STATIONS, ("cheongdam", "haengju"), strict=True):
        file = shared / "water" / f"han_{name}_2012_2015.csv.gz"
        begin = PEAK - timedelta(days=2)
        console.print(run.replay(file, "--cell", cell, "--shift", "now", *_window(begin, PEAK)))
    time.sleep(6)
    run.show_alarms("at the peak of 15 July 2013, moved to now")
    run.show_incidents()
    run.picture(out / "wall-han-peak.png")


def smoke(run: Run, shared: Path) -> None:
    """The recorded smoke session; its sensor has no smoke density, so what it measures is stored and watched."""
    console.print(
        run.replay(
            shared / "smoke" / "smoke_iot_s1.csv.gz", "--cell", "han-3", "--kind", "smoke", "--shift", "now"
        )
    )
    for row in run.rows(
        "SELECT m.code, count(*), min(o.value), max(o.value) FROM observations o JOIN metrics m ON m.id = o.metric_id"
        " JOIN devices d ON d.id = o.device_id WHERE d.kind = 'smoke' GROUP BY 1 ORDER BY 1"
    ):
        console.print("smoke session", row)
    run.show_alarms("after the smoke session")


def payloads(run: Run, shared: Path) -> None:
    """Every foreign payload on its own topic and on a native one, each followed by a good reading."""
    lines = (shared / "payloads" / "payloads.jsonl").read_text(encoding="utf-8").splitlines()
    records = [json.loads(line) for line in lines]
    sent = 0
    for record in records:
        body = record["payload"].encode()
        for topic in filter(None, (record["topic"], "city/han-3/smoke/foreign")):
            now = time.time_ns() // 1_000_000
            good = f'{{"ts":{now},"value":1.0,"seq":{sent}}}'.encode()
            run.send([(topic, body), ("city/han-3/smoke/good", good)])
            sent += 1
    time.sleep(2)
    kept = run.rows(
        "SELECT count(*) FROM observations o JOIN devices d ON d.id = o.device_id WHERE d.code = 'good'"
    )
    console.print(
        f"foreign payloads: {sent} sent; good readings between them: {sent} sent, {kept[0][0]} stored"
    )
    for row in run.rows("SELECT reason, count(*) FROM quarantine GROUP BY 1 ORDER BY 1"):
        console.print("quarantine", row)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument(
        "--shared", type=Path, default=Path(os.environ.get("CITY_SHARED", ROOT.parent / "shared"))
    )
    arguments.add_argument("--out", type=Path, default=ROOT / "bench" / "results")
    chosen = arguments.parse_args()
    data = chosen.shared / "data"
    if not data.is_dir():
        raise SystemExit(f"{data} is not there; say --shared FOLDER")
    chosen.out.mkdir(parents=True, exist_ok=True)
    server = PostgresServer(
        timescale_binaries(), settings={**SETTINGS, "fsync": "on"}, extension="timescaledb"
    )
    broker = MosquittoServer()
    server.start()
    broker.start()
    try:
        with tempfile.TemporaryDirectory() as folder:
            for name, work in (
                ("rivers", lambda run: rivers(run, data)),
                ("peak", lambda run: peak(run, data, chosen.out)),
                ("smoke", lambda run: smoke(run, data)),
                ("payloads", lambda run: payloads(run, data)),
            ):
                console.rule(name)
                run = Run(name, server, broker, Path(folder))
                try:
                    work(run)
                finally:
                    run.close()
    finally:
        broker.close()
        server.close()


if __name__ == "__main__":
    main()
