"""The small authority: what it signs, who may read its keys, what it revokes, and when it says that something ends."""

import json
import shutil
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from typer.testing import CliRunner

from runtime import ca_cli, certificates
from runtime.certificates import CertificateError

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    certificates.init(tmp_path / "ca", "Test CA", None, NOW)
    return tmp_path / "ca"


def test_a_server_is_known_by_its_names_and_a_device_by_its_account(folder: Path) -> None:
    server = certificates.issue(folder, "server", "broker.lan", ["10.0.0.7", "mosquitto"], None, NOW)
    signed = certificates.read(server.certificate)
    signed.verify_directly_issued_by(certificates.read(folder / "ca.pem"))
    names = signed.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["broker.lan", "mosquitto"]
    assert [str(one) for one in names.get_values_for_type(x509.IPAddress)] == ["10.0.0.7"]
    assert server.until == NOW + timedelta(days=397)
    device = certificates.issue(folder, "device", "网关7", [], None, NOW)
    assert (device.name, device.use, device.until) == ("网关7", "device", NOW + timedelta(days=1096))
    assert isinstance(certificates.read(device.certificate).public_key(), ec.EllipticCurvePublicKey)


def test_keys_are_their_owners(folder: Path) -> None:
    made = certificates.issue(folder, "device", "d1", [], None, NOW)
    for path in (folder / "ca.key", made.key):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_an_authority_is_never_written_over(folder: Path) -> None:
    before = (folder / "ca.key").read_bytes()
    with pytest.raises(CertificateError, match="already"):
        certificates.init(folder, "Another", None, NOW)
    assert (folder / "ca.key").read_bytes() == before


def test_a_passphrase_is_needed_and_has_to_fit(tmp_path: Path) -> None:
    folder = tmp_path / "ca"
    certificates.init(folder, "Test CA", b"open", NOW)
    assert b"ENCRYPTED" in (folder / "ca.key").read_bytes()
    for wrong, said in ((None, "needs its passphrase"), (b"shut", "does not fit")):
        with pytest.raises(CertificateError, match=said):
            certificates.issue(folder, "device", "d1", [], wrong, NOW)
    assert certificates.issue(folder, "device", "d1", [], b"open", NOW).name == "d1"


@pytest.mark.parametrize("name", ["", "a b", "a/b", "../up", "a:b", "a#", "x" * 65, "a\nb", "a\\b"])
def test_a_name_that_is_no_account_is_refused(folder: Path, name: str) -> None:
    with pytest.raises(CertificateError, match="characters"):
        certificates.issue(folder, "device", name, [], None, NOW)


def test_a_host_name_that_is_not_ascii_is_refused(folder: Path) -> None:
    with pytest.raises(CertificateError, match="ASCII"):
        certificates.issue(folder, "server", "网关", [], None, NOW)
    assert certificates.issued(folder) == []


def test_revoked_stays_revoked_and_others_stay_good(folder: Path) -> None:
    first, second, other = (
        certificates.issue(folder, "device", name, [], None, NOW) for name in ("a", "a", "b")
    )
    assert [one.serial for one in certificates.revoke(folder, f"{first.serial:x}", None, NOW)] == [
        first.serial
    ]
    assert [one.serial for one in certificates.revoke(folder, "b", None, NOW)] == [other.serial]
    certificates.renew_list(folder, None, NOW + timedelta(days=300))
    state = {one.serial: one.revoked for one in certificates.issued(folder)}
    assert state == {first.serial: True, second.serial: False, other.serial: True}
    with pytest.raises(CertificateError, match="no good certificate"):
        certificates.revoke(folder, "b", None, NOW)


def test_what_ends_is_the_newest_of_each_name(folder: Path) -> None:
    certificates.issue(folder, "server", "host", [], None, NOW - timedelta(days=390))
    certificates.issue(folder, "device", "gone", [], None, NOW - timedelta(days=1090))
    certificates.revoke(folder, "gone", None, NOW)
    ends = dict(certificates.ends(folder))
    assert ends["server host"] == NOW + timedelta(days=7)
    assert "device gone" not in ends
    assert ends["the revocation list"] == NOW + certificates.CRL_LIFE
    certificates.issue(folder, "server", "host", [], None, NOW)  # renewed: the old one's end is no news
    assert dict(certificates.ends(folder))["server host"] == NOW + timedelta(days=397)


def test_a_certificate_ends_no_later_than_its_authority(folder: Path) -> None:
    late = NOW + certificates.CA_LIFE - timedelta(days=10)
    assert certificates.issue(folder, "device", "d", [], None, late).until == NOW + certificates.CA_LIFE


def test_a_lost_list_is_not_taken_for_an_empty_one(folder: Path) -> None:
    (folder / "crl.pem").unlink()
    with pytest.raises(CertificateError, match=r"crl\.pem"):
        certificates.issued(folder)
    shutil.rmtree(folder)
    with pytest.raises(CertificateError, match="no authority"):
        certificates.issue(folder, "device", "d", [], None, NOW)


def test_the_commands(tmp_path: Path) -> None:
    folder, phrase = str(tmp_path / "ca"), tmp_path / "phrase"
    phrase.write_text("open sesame\n")
    asked = ["--folder", folder, "--passphrase-file", str(phrase)]

    def run(*arguments: str, code: int = 0) -> dict[str, object]:
        done = CliRunner().invoke(ca_cli.app, [*arguments, "--json"])
        assert done.exit_code == code, done.output
        told: dict[str, object] = json.loads(done.output) if done.output.startswith("{") else {}
        return told

    run("init", *asked)
    made = run("issue", "device", "d1", *asked)
    assert Path(str(made["key"])).exists()
    assert run("revoke", "d1", *asked)["revoked"] == [made["serial"]]
    assert run("list", "--folder", folder)["ending"] == []
    run("renew-list", *asked)
    run("issue", "person", "d1", *asked, code=1)
