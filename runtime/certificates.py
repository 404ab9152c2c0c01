"""A small certificate authority for a closed network: a folder with its key, what it issued, and its revocation list.

X.509 v3 (RFC 5280) with EC P-256 and SHA-256. The folder holds ``ca.pem``, ``ca.key`` (0600, encrypted where a
passphrase is given), ``crl.pem`` for the broker, and ``issued/NAME-SERIAL.pem`` with ``.key`` beside it. What was
revoked stands in ``crl.pem`` itself and nowhere else, so there is no list that could differ from it.
"""

import ipaddress
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from city.errors import CityError

Use = Literal["server", "device"]
CA_LIFE = timedelta(days=3653)
LIVES: dict[Use, timedelta] = {"server": timedelta(days=397), "device": timedelta(days=1096)}
CRL_LIFE = timedelta(
    days=400
)  # a broker refuses everybody once its list is out of date; `city doctor` warns before
SOON = timedelta(days=30)
_SKEW = timedelta(hours=1)  # clocks of devices
_NAME = re.compile(
    r"[^\s:+#/%$\x00-\x1f\x7f\\]{1,64}\Z"
)  # a common name (RFC 5280, ub-common-name) that is an account


class CertificateError(CityError):
    """The authority's folder or a name is not as it must be."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Issued:
    """A certificate of ours: who, for what, until when (UTC), and whether it was revoked."""

    name: str
    use: Use
    serial: int
    until: datetime
    revoked: bool
    certificate: Path
    key: Path


def init(folder: Path, name: str, passphrase: bytes | None, now: datetime) -> Path:
    """Make the authority and an empty revocation list; returns its certificate. Never over one that is there."""
    if (folder / "ca.key").exists():
        raise CertificateError(f"{folder}: holds an authority already; use another folder")
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    certificate = (
        _begun(subject, subject, key.public_key(), now, CA_LIFE)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    _write_key(folder / "ca.key", key, passphrase)
    _write(folder / "ca.pem", certificate.public_bytes(serialization.Encoding.PEM))
    _write_list(folder, key, certificate, [], now)
    return folder / "ca.pem"


def issue(
    folder: Path, use: Use, name: str, also: Sequence[str], passphrase: bytes | None, now: datetime
) -> Issued:
    """A certificate with a key of its own. ``also``: further names or addresses of a server.

    A device's common name is its account at the broker. Raises CertificateError.
    """
    if not _NAME.match(name):
        raise CertificateError(f"{name!r}: use at most 64 characters without spaces and : + # / % $ \\")
    authority, key = _authority(folder, passphrase)
    own = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    usage = ExtendedKeyUsageOID.SERVER_AUTH if use == "server" else ExtendedKeyUsageOID.CLIENT_AUTH
    life = min(LIVES[use], authority.not_valid_after_utc - now)
    begun = (
        _begun(subject, authority.subject, own.public_key(), now, life)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(own.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), critical=False)
    )
    if use == "server":
        try:
            names = [_general(one) for one in dict.fromkeys([name, *also])]
        except ValueError as error:
            raise CertificateError(f"{[name, *also]}: host names are ASCII (xn--… for others)") from error
        begun = begun.add_extension(x509.SubjectAlternativeName(names), critical=False)
    certificate = begun.sign(key, hashes.SHA256())
    (folder / "issued").mkdir(mode=0o700, exist_ok=True)
    path = folder / "issued" / f"{name}-{certificate.serial_number:x}.pem"
    _write_key(path.with_suffix(".key"), own, None)
    _write(path, certificate.public_bytes(serialization.Encoding.PEM))
    return _issued(path, certificate, set())


def revoke(folder: Path, wanted: str, passphrase: bytes | None, now: datetime) -> list[Issued]:
    """Revoke all good certificates of a name, or one by its serial in hexadecimal digits; returns them."""
    authority, key = _authority(folder, passphrase)
    found = [one for one in issued(folder) if wanted in (one.name, f"{one.serial:x}") and not one.revoked]
    if not found:
        raise CertificateError(f"{wanted}: no good certificate has this name or serial; see `city ca list`")
    listed = [*_revoked(folder), *((one.serial, now) for one in found)]
    _write_list(folder, key, authority, listed, now)
    return [one for one in issued(folder) if one.serial in {taken.serial for taken in found}]


def renew_list(folder: Path, passphrase: bytes | None, now: datetime) -> datetime:
    """Sign the revocation list anew, unchanged; returns until when it is good."""
    authority, key = _authority(folder, passphrase)
    _write_list(folder, key, authority, _revoked(folder), now)
    return now + CRL_LIFE


def issued(folder: Path) -> list[Issued]:
    """Everything issued, the first to end first."""
    revoked = {serial for serial, _ in _revoked(folder)}
    found = [_issued(path, read(path), revoked) for path in (folder / "issued").glob("*.pem")]
    return sorted(found, key=lambda one: (one.until, one.name, one.serial))


def ends(folder: Path) -> list[tuple[str, datetime]]:
    """What of an authority runs out and when: itself, its list, the newest good certificate of each name."""
    listed = _list(folder).next_update_utc
    found = [("the authority", read(folder / "ca.pem").not_valid_after_utc)]
    if listed is not None:
        found.append(("the revocation list", listed))
    newest = {(one.use, one.name): one.until for one in issued(folder) if not one.revoked}
    return found + [(f"{use} {name}", until) for (use, name), until in newest.items()]


def read(path: Path) -> x509.Certificate:
    """A certificate of a PEM file; raises CertificateError."""
    try:
        return x509.load_pem_x509_certificate(path.read_bytes())
    except (OSError, ValueError) as error:
        raise CertificateError(
            f"{path}: {getattr(error, 'strerror', None) or 'is no PEM certificate'}"
        ) from error


def _authority(folder: Path, passphrase: bytes | None) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    try:
        key = serialization.load_pem_private_key((folder / "ca.key").read_bytes(), passphrase)
    except OSError as error:
        raise CertificateError(
            f"{folder}: holds no authority ({error.strerror}); `city ca init` makes one"
        ) from error
    except TypeError as error:
        asked = "needs its passphrase (--passphrase-file)" if passphrase is None else "has no passphrase"
        raise CertificateError(f"{folder / 'ca.key'}: {asked}") from error
    except ValueError as error:
        raise CertificateError(f"{folder / 'ca.key'}: the passphrase does not fit") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise CertificateError(f"{folder / 'ca.key'}: is no key that we made")
    return read(folder / "ca.pem"), key


def _begun(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePublicKey,
    now: datetime,
    life: timedelta,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _SKEW)
        .not_valid_after(now + life)
    )


def _usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs,
        key_cert_sign=signs,
        crl_sign=signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _issued(path: Path, certificate: x509.Certificate, revoked: set[int]) -> Issued:
    usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    return Issued(
        name=str(certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value),
        use="server" if ExtendedKeyUsageOID.SERVER_AUTH in usage else "device",
        serial=certificate.serial_number,
        until=certificate.not_valid_after_utc,
        revoked=certificate.serial_number in revoked,
        certificate=path,
        key=path.with_suffix(".key"),
    )


def _list(folder: Path) -> x509.CertificateRevocationList:
    try:
        return x509.load_pem_x509_crl((folder / "crl.pem").read_bytes())
    except (OSError, ValueError) as error:
        raise CertificateError(
            f"{folder / 'crl.pem'}: cannot be read; bring it back from a backup"
        ) from error


def _revoked(folder: Path) -> list[tuple[int, datetime]]:
    return [(one.serial_number, one.revocation_date_utc) for one in _list(folder)]


def _write_list(
    folder: Path,
    key: ec.EllipticCurvePrivateKey,
    authority: x509.Certificate,
    revoked: Sequence[tuple[int, datetime]],
    now: datetime,
) -> None:
    begun = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(authority.subject)
        .last_update(now - _SKEW)
        .next_update(now + CRL_LIFE)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), critical=False)
        .add_extension(x509.CRLNumber(int(now.astimezone(UTC).timestamp() * 1000)), critical=False)
    )
    for serial, at in revoked:
        one = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(at).build()
        begun = begun.add_revoked_certificate(one)
    _write(folder / "crl.pem", begun.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))


def _write_key(path: Path, key: ec.EllipticCurvePrivateKey, passphrase: bytes | None) -> None:
    how: serialization.KeySerializationEncryption = serialization.NoEncryption()
    if passphrase is not None:
        how = serialization.BestAvailableEncryption(passphrase)
    text = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, how)
    _write(path, text, mode=0o600)


def _write(path: Path, text: bytes, *, mode: int = 0o644) -> None:
    """In one step, with these rights from its first byte on."""
    fresh = path.with_name(f".{path.name}.new")
    fresh.unlink(missing_ok=True)
    with open(os.open(fresh, os.O_CREAT | os.O_EXCL | os.O_WRONLY, mode), "wb") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
