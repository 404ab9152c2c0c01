"""A certificate that is about to end is an incident of the centre's own, and is over when it was renewed."""

import asyncio
from datetime import datetime, timedelta
from pathlib import Path

from city.settings import Settings
from city.storage.changes import open_connection
from command_centre.certificate_alarm import LOOK_EVERY, CertificateWatch
from runtime import certificates
from tests.integration.small_town import rows


def test_it_is_raised_while_there_is_time_and_cleared_when_it_was_renewed(
    migrated_url: str, tmp_path: Path, now: datetime
) -> None:
    folder = tmp_path / "ca"
    certificates.init(folder, "Test CA", None, now)
    old = certificates.issue(folder, "device", "centre", [], None, now - timedelta(days=1090))
    settings = Settings(
        mqtt_url="mqtts://127.0.0.1:1",  # nobody there: what cannot be seen is left out
        mqtt_ca_file=folder / "ca.pem",
        mqtt_cert_file=old.certificate,
        mqtt_key_file=old.key,
        _env_file=None,
    )

    async def looked() -> list[list[tuple[object, ...]]]:
        seen = []
        connection = await open_connection(migrated_url, "test", autocommit=True)
        async with connection:
            watch = CertificateWatch(settings)
            for at, renewed in ((now, False), (now + timedelta(minutes=1), True), (now + LOOK_EVERY, True)):
                if renewed:
                    fresh = certificates.issue(folder, "device", "centre", [], None, now)
                    old.certificate.write_bytes(fresh.certificate.read_bytes())
                await watch.look(connection, at)
                seen.append(
                    rows(
                        migrated_url,
                        "SELECT category, level, evidence -> 'ends' ? 'CITY_MQTT_CERT_FILE', cleared_at IS NULL"
                        " FROM alarms",
                    )
                )
        return seen

    raised = ("system.certificate", "yellow", True)
    assert asyncio.run(looked()) == [[(*raised, True)], [(*raised, True)], [(*raised, False)]]
