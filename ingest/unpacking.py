"""Bytes that a network passed on undecoded, made into reports by a codec. Pure."""

from city.observations import Rejection
from city.payload_codecs import Codec, decode
from ingest.decoders.said import Raw, Rejected, Report, Said


def unpacked(raw: Raw, codec: Codec, received_us: int) -> list[Said]:
    """A report for each moment the bytes tell of, then a refusal where they went on with something unknown."""
    decoded = decode(codec, raw.data, raw.port)
    said: list[Said] = []
    for values, time_s, age_s in decoded.readings:
        at_us = raw.at_us
        if time_s is not None:
            at_us = int(time_s * 1_000_000)
        elif age_s is not None:
            at_us = (received_us if at_us is None else at_us) - int(age_s * 1_000_000)
        said.append(
            Report(
                device=raw.device,
                values=values,
                at_us=at_us,
                seq=raw.seq,
                units=decoded.units,
                model=raw.model,
                gateway=raw.gateway,
            )
        )
    if decoded.fault:
        said.append(Rejected(Rejection.BAD_FRAME, f"codec {codec.code}, port {raw.port}: {decoded.fault}"))
    return said
