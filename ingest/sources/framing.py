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
