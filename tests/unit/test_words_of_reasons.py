"""Every reason for which a message is put aside, and every deed of the audit, has words in both languages."""

import re
from pathlib import Path

from city.observations import Rejection
from command_centre.api.witness import SEEN

ROOT = Path(__file__).parents[2]
CATALOGUE = Path("command_centre/web/src/i18n/settings_people.catalogue.ts")
AUDIT = Path("command_centre/web/src/i18n/audit.catalogue.ts")


def test_every_reason_has_words() -> None:
    words = (ROOT / CATALOGUE).read_text("utf-8")
    assert [reason.value for reason in Rejection if f'"rejection.{reason.value}": [' not in words] == []


def test_every_deed_of_the_audit_has_words() -> None:
    words = (ROOT / AUDIT).read_text("utf-8")
    written = {
        deed
        for room in ("city", "command_centre", "runtime")
        for file in (ROOT / room).rglob("*.py")
        for deed in re.findall(r'action="([a-z_]+\.[a-z_]+)"', file.read_text("utf-8"))
    }
    assert len(written) > 30
    assert {
        deed for deed in written | set(SEEN.values()) if f'"audited_action.{deed}": [' not in words
    } == set()
