"""The audit's chain: what is hashed of a row, and the first row that is not as it was written. No database here.

A row's ``said`` is a salted digest of what it says (object, reason, detail); its ``hash`` is over the hash before it,
its place, its instant, who, what, the request, and ``said``. So a row whose words were erased still proves, and
without the salt nobody can guess the words back from the digest.
"""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

GENESIS = bytes(32)
What = Literal["changed", "removed", "added", "words", "head", "published", "unsealed"]
WORDS: dict[What, tuple[str, str]] = {
    "changed": ("内容或顺序被改动", "the entry, or the one before it, was changed"),
    "removed": ("该条被删除", "the entry was removed"),
    "added": ("末尾之后有多余记录", "there are entries behind the end"),
    "words": ("所记内容被改动", "what the entry says was changed"),
    "head": ("末条与所记末端不符", "the last entry is not the one the end names"),
    "published": ("与库外公布的记录不符", "does not agree with what was published outside the database"),
    "unsealed": ("很久未入链", "waits to be chained for too long: is a centre running?"),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """A row as it stands in the table; ``detail`` as the database writes the JSON."""

    id: int
    at: datetime
    actor: str
    action: str
    object: str
    reason: str
    detail: str
    request: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Link:
    """What sealing adds to a row."""

    id: int
    seq: int
    salt: bytes
    said: bytes
    hash: bytes


@dataclass(frozen=True, kw_only=True, slots=True)
class Sealed:
    """A row with its link; ``salt`` None = its words were erased."""

    entry: Entry
    seq: int
    salt: bytes | None
    said: bytes
    hash: bytes


@dataclass(frozen=True, kw_only=True, slots=True)
class End:
    """Where a chain ends: 0 and GENESIS before its first row."""

    seq: int = 0
    hash: bytes = GENESIS


@dataclass(frozen=True, kw_only=True, slots=True)
class Fault:
    """The first place where the audit is not as it was written; ``entry`` is the row's id where one is there."""

    seq: int
    what: What
    entry: int | None = None


def digest(salt: bytes, entry: Entry) -> bytes:
    """SHA-256 over the salt and object, reason and detail: 32 bytes."""
    words = json.dumps([entry.object, entry.reason, entry.detail], ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(salt + words.encode()).digest()


def chained(previous: bytes, seq: int, entry: Entry, said: bytes) -> bytes:
    """SHA-256 over the hash before and the row, its instant in UTC with microseconds: 32 bytes."""
    at = entry.at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    row = [seq, entry.id, at, entry.actor, entry.action, entry.request, said.hex()]
    return hashlib.sha256(
        previous + json.dumps(row, ensure_ascii=False, separators=(",", ":")).encode()
    ).digest()


def seal(end: End, entries: Sequence[Entry], salts: Sequence[bytes]) -> tuple[list[Link], End]:
    """The links of rows that follow ``end``, in the order given, and where the chain ends then."""
    seq, previous = end.seq, end.hash
    links = []
    for entry, salt in zip(entries, salts, strict=True):
        seq += 1
        said = digest(salt, entry)
        previous = chained(previous, seq, entry, said)
        links.append(Link(id=entry.id, seq=seq, salt=salt, said=said, hash=previous))
    return links, End(seq=seq, hash=previous)


def first_fault(start: End, rows: Iterable[Sealed]) -> tuple[Fault | None, End]:
    """The first of ``rows`` that does not follow ``start`` as it should, and the end of what does."""
    seq, previous = start.seq, start.hash
    for row in rows:
        if row.seq != seq + 1:
            return Fault(seq=seq + 1, what="removed"), End(seq=seq, hash=previous)
        if chained(previous, row.seq, row.entry, row.said) != row.hash:
            return Fault(seq=row.seq, what="changed", entry=row.entry.id), End(seq=seq, hash=previous)
        if row.salt is not None and digest(row.salt, row.entry) != row.said:
            return Fault(seq=row.seq, what="words", entry=row.entry.id), End(seq=seq, hash=previous)
        seq, previous = row.seq, row.hash
    return None, End(seq=seq, hash=previous)
