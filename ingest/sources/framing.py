"""What a stream of bytes is cut into, said once for every protocol that has frames. Pure."""

from typing import NamedTuple, Protocol


class Piece(NamedTuple):
    """Consecutive bytes of a stream: a whole frame, or what was between frames and is none."""

    data: bytes
    whole: bool


class Framer(Protocol):
    """Cuts one peer's stream. What it holds back is bounded by its protocol's longest frame."""

    @property
    def waiting(self) -> int:
        """Bytes held: of a frame that has begun and is not complete, or of garbage that has not ended."""
        ...

    def feed(self, data: bytes) -> list[Piece]:
        """Every piece that is complete now, in the stream's order; no byte is lost or said twice."""
        ...

    def rest(self) -> list[Piece]:
        """What is held, as garbage: the stream ended, or the frame took too long. Nothing is held then."""
        ...


class Cut(Protocol):
    """A protocol's knowledge of its frames: pieces of what is held, and what may still become a frame."""

    def __call__(self, data: bytes, *, ended: bool) -> tuple[list[Piece], bytes]:
        """``ended`` = nothing more comes, so nothing may be held."""
        ...


class Cutter:
    """A ``Framer`` of a ``Cut`` that looks at everything held each time; for protocols with short frames."""

    def __init__(self, cut: Cut) -> None:
        self._cut = cut
        self._held = b""

    @property
    def waiting(self) -> int:
        return len(self._held)

    def feed(self, data: bytes) -> list[Piece]:
        pieces, self._held = self._cut(self._held + data, ended=False)
        return pieces

    def rest(self) -> list[Piece]:
        pieces, self._held = self._cut(self._held, ended=True)[0], b""
        return pieces
