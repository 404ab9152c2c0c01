"""Every reason for which a message is put aside has words in both languages."""

from pathlib import Path

from city.observations import Rejection

CATALOGUE = Path("command_centre/web/src/i18n/settings_people.catalogue.ts")


def test_every_reason_has_words() -> None:
    words = (Path(__file__).parents[2] / CATALOGUE).read_text("utf-8")
    assert [reason.value for reason in Rejection if f'"rejection.{reason.value}": [' not in words] == []
