"""The elements of SL 651-2014 that are numbers: tables C.1 and 58. Their units stand in the profile."""

from typing import Final

# guide byte: (identifier in the ASCII form, digits, decimals)
ELEMENTS: Final[dict[int, tuple[str, int, int]]] = {
    0x01: ("AC", 8, 2),
    0x02: ("AI", 3, 1),
    0x03: ("C", 3, 1),
    0x05: ("DT", 4, 2),
    0x06: ("ED", 5, 1),
    0x07: ("EJ", 5, 1),
    0x08: ("FL", 5, 0),
    0x09: ("GH", 5, 2),
    0x0A: ("GN", 3, 0),
    0x0B: ("GS", 1, 0),
    0x0C: ("GT", 3, 0),
    0x0D: ("GTP", 3, 1),
    0x0E: ("H", 6, 2),
    0x0F: ("HW", 5, 2),
    0x10: ("M10", 4, 1),
    0x11: ("M20", 4, 1),
    0x12: ("M30", 4, 1),
    0x13: ("M40", 4, 1),
    0x14: ("M50", 4, 1),
    0x15: ("M60", 4, 1),
    0x16: ("M80", 4, 1),
    0x17: ("M100", 4, 1),
    0x18: ("MST", 4, 1),
    0x19: ("NS", 2, 0),
    0x1A: ("P1", 5, 1),
    0x1B: ("P2", 5, 1),
    0x1C: ("P3", 5, 1),
    0x1D: ("P6", 5, 1),
    0x1E: ("P12", 5, 1),
    0x1F: ("PD", 5, 1),
    0x20: ("PJ", 5, 1),
    0x21: ("PN01", 5, 1),
    0x22: ("PN05", 5, 1),
    0x23: ("PN10", 5, 1),
    0x24: ("PN30", 5, 1),
    0x25: ("PR", 5, 1),
    0x26: ("PT", 6, 1),
    0x27: ("Q", 9, 3),
    0x28: ("Q1", 9, 3),
    0x29: ("Q2", 9, 3),
    0x2A: ("Q3", 9, 3),
    0x2B: ("Q4", 9, 3),
    0x2C: ("Q5", 9, 3),
    0x2D: ("Q6", 9, 3),
    0x2E: ("Q7", 9, 3),
    0x2F: ("Q8", 9, 3),
    0x30: ("QA", 9, 3),
    0x31: ("QZ", 9, 3),
    0x32: ("SW", 11, 3),
    0x33: ("UC", 2, 0),
    0x34: ("UE", 2, 0),
    0x35: ("US", 4, 1),
    0x36: ("VA", 5, 3),
    0x37: ("VJ", 5, 3),
    0x38: ("VT", 4, 2),
    0x39: ("Z", 7, 3),
    0x3A: ("ZB", 7, 3),
    0x3B: ("ZU", 7, 3),
    0x3C: ("Z1", 7, 3),
    0x3D: ("Z2", 7, 3),
    0x3E: ("Z3", 7, 3),
    0x3F: ("Z4", 7, 3),
    0x40: ("Z5", 7, 3),
    0x41: ("Z6", 7, 3),
    0x42: ("Z7", 7, 3),
    0x43: ("Z8", 7, 3),
    0x44: ("SQ", 9, 3),
    0x46: ("pH", 4, 2),
    0x47: ("DO", 4, 1),
    0x48: ("COND", 5, 0),
    0x49: ("TURB", 3, 0),
    0x4A: ("CODMN", 4, 1),
    0x4B: ("REDOX", 5, 1),
    0x4C: ("NH4N", 6, 2),
    0x4D: ("TP", 5, 3),
    0x4E: ("TN", 5, 2),
    0x4F: ("TOC", 4, 2),
    0x50: ("CU", 7, 4),
    0x51: ("ZN", 6, 4),
    0x52: ("SE", 7, 5),
    0x53: ("AS", 7, 5),
    0x54: ("THG", 7, 5),
    0x55: ("CD", 7, 5),
    0x56: ("PB", 7, 5),
    0x57: ("CHLA", 4, 2),
    0x58: ("WP1", 5, 2),
    0x59: ("WP2", 5, 2),
    0x5A: ("WP3", 5, 2),
    0x5B: ("WP4", 5, 2),
    0x5C: ("WP5", 5, 2),
    0x5D: ("WP6", 5, 2),
    0x5E: ("WP7", 5, 2),
    0x5F: ("WP8", 5, 2),
    0x60: ("SYL1", 11, 3),
    0x61: ("SYL2", 11, 3),
    0x62: ("SYL3", 11, 3),
    0x63: ("SYL4", 11, 3),
    0x64: ("SYL5", 11, 3),
    0x65: ("SYL6", 11, 3),
    0x66: ("SYL7", 11, 3),
    0x67: ("SYL8", 11, 3),
    0x68: ("SBL1", 10, 2),
    0x69: ("SBL2", 10, 2),
    0x6A: ("SBL3", 10, 2),
    0x6B: ("SBL4", 10, 2),
    0x6C: ("SBL5", 10, 2),
    0x6D: ("SBL6", 10, 2),
    0x6E: ("SBL7", 10, 2),
    0x6F: ("SBL8", 10, 2),
    0x70: ("VTA", 4, 1),
    0x71: ("VTB", 4, 1),
    0x72: ("VTC", 4, 1),
    0x73: ("VIA", 4, 1),
    0x74: ("VIB", 4, 1),
    0x75: ("VIC", 4, 1),
}

RAIN_SERIES: Final = 0xF4  # DRP: twelve times five minutes, one byte each, 0.1 mm
LEVEL_SERIES: Final = range(
    0xF5, 0xFD
)  # DRZ1..DRZ8: twelve times two bytes, 0.01 m above the station's own base
STATUS: Final = 0x45  # ZT

STATION_TYPES: Final = frozenset(
    b"PHKZDTMGQIO"
)  # appendix A; the hexadecimal form sends the same letters' codes

# Table 58, from bit 0. The table itself mixes senses: what is said here is 1 in the case that the name says.
_FLAGS: Final = (
    ("mains_fault", 1),
    ("battery_low", 1),
    ("level_out_of_range", 1),
    ("flow_out_of_range", 1),
    ("quality_out_of_range", 1),
    ("flow_meter_fault", 1),
    ("level_gauge_fault", 1),
    ("box_open", 0),
    ("storage_fault", 1),
    ("ic_card_valid", 1),
    ("pump_stopped", 1),
    ("water_left_low", 1),
)


def name_of(guide: int) -> str:
    """The ASCII identifier of a guide byte; of one that the table does not know, the byte itself in hexadecimal."""
    known = ELEMENTS.get(guide)
    if known is not None:
        return known[0]
    if guide == RAIN_SERIES:
        return "DRP"
    return f"DRZ{guide - 0xF4}" if guide in LEVEL_SERIES else f"{guide:02X}"


def definition_of(guide: int) -> int:
    """The definition byte that the table asks for: bytes in the high five bits, decimals in the low three; 0 = none."""
    known = ELEMENTS.get(guide)
    return 0 if known is None else ((known[1] + 1) // 2) << 3 | known[2]


def status_flags(word: int) -> dict[str, float]:
    """Status and alarms of a station (table 58): the word itself and each of its twelve bits as ``ZT.name``."""
    flags = {f"ZT.{name}": float((word >> bit & 1) == sense) for bit, (name, sense) in enumerate(_FLAGS)}
    return {"ZT": float(word)} | flags
