"""Units as senders spell them: what becomes what, what is refused, and texts that only seem to be units."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from city.measures import SAME, Conversion, conversion

# sent, stored, factor, offset. SenML's (RFC 8428 table 1, RFC 8798), Tasmota's, Zigbee's, LoRaWAN vendors', Chinese.
TABLE = """
mm m 0.001 0 | cm m 0.01 0 | m mm 1000 0 | km m 1000 0 | ft m 0.3048 0 | in mm 25.4 0 | inch mm 25.4 0
毫米 mm 1 0 | 毫米 m 0.001 0 | 厘米 m 0.01 0 | 米 m 1 0 | 公里 m 1000 0 | 千米 m 1000 0
Cel °C 1 0 | C °C 1 0 | ℃ °C 1 0 | 摄氏度 °C 1 0 | 度 °C 1 0 | degC °C 1 0 | K °C 1 -273.15
F °C 0.555555555556 -17.7777777778 | °F °C 0.555555555556 -17.7777777778 | °C °F 1.8 32
degF °C 0.555555555556 -17.7777777778
V V 1 0 | mV V 0.001 0 | 伏 V 1 0 | 伏特 V 1 0 | 毫伏 V 0.001 0 | A mA 1000 0 | mA A 0.001 0 | 安 A 1 0 | 毫安 mA 1 0
W W 1 0 | kW W 1000 0 | 瓦 W 1 0 | 千瓦 W 1000 0 | kWh Wh 1000 0 | 千瓦时 kWh 1 0 | kVA VA 1000 0 | kvar var 1000 0
Ah mAh 1000 0 | kvarh varh 1000 0 | VAh Wh 1 0 | J Wh 0.000277777777778 0
毫米水柱 kPa 0.00980665 0 | mmH2O kPa 0.00980665 0 | mH2O kPa 9.80665 0 | 米水柱 kPa 9.80665 0 | cmH2O mH2O 0.01 0
Pa kPa 0.001 0 | kPa MPa 0.001 0 | hPa kPa 0.1 0 | mbar hPa 1 0 | bar MPa 0.1 0 | psi kPa 6.89475729317 0
PSI kPa 6.89475729317 0
mmHg hPa 1.33322387415 0 | inHg hPa 33.8638864034 0 | 帕 kPa 0.001 0 | 千帕 MPa 0.001 0 | 兆帕 MPa 1 0 | 百帕 hPa 1 0
%RH % 1 0 | 百分比 % 1 0 | ％ % 1 0 | percent % 1 0 | %EL % 1 0 | /100 % 1 0 | %LEL % 1 0 | / % 100 0 | /1000 % 0.1 0
m/s m/s 1 0 | 米/秒 m/s 1 0 | km/h m/s 0.277777777778 0 | mph m/s 0.44704 0 | kn m/s 0.514444444444 0
kt m/s 0.514444444444 0
m3/s m³/s 1 0 | L/s m³/s 0.001 0 | l/s m³/s 0.001 0 | m3/h m³/s 0.000277777777778 0 | m³/h m³/s 0.000277777777778 0
立方米/秒 m³/s 1 0 | 立方米/小时 m³/s 0.000277777777778 0 | cfs m³/s 0.028316846592 0 | kcfs m³/s 28.316846592 0
mm/h mm/h 1 0 | 毫米/秒 mm/s 1 0 | mm/min mm/h 60 0 | m/h mm/h 1000 0 | m/s2 m/s² 1 0 | km2 m² 1000000 0
W/m2 W/m² 1 0
ppb ppm 0.001 0 | ug/m3 µg/m³ 1 0 | μg/m³ µg/m³ 1 0 | mg/m3 µg/m³ 1000 0
微克/立方米 µg/m³ 1 0 | mg/l mg/L 1 0 | 毫克/升 mg/L 1 0 | g/l mg/L 1000 0
lux lx 1 0 | 勒克斯 lx 1 0 | dBA dB 1 0 | dB(A) dB 1 0 | 分贝 dB 1 0
min s 60 0 | h s 3600 0 | ms s 0.001 0 | 秒 s 1 0 | 分钟 s 60 0 | 小时 s 3600 0 | EL h 0.000277777777778 0
g kg 0.001 0 | 公斤 kg 1 0 | rad ° 57.2957795131 0 | deg ° 1 0 | 度 ° 1 0 | lat ° 1 0 | mrad ° 0.0572957795131 0
uS/cm µS/cm 1 0 | S/m µS/cm 10000 0 | mS/cm µS/cm 1000 0 | Ohm ohm 1 0 | m3 m³ 1 0 | l m³ 0.001 0
立方米 m³ 1 0 | 升 m³ 0.001 0
KiB B 1024 0 | MB/s B/s 1000000 0 | Mbit/s bit/s 1000000 0 | 1/s Hz 1 0
"""
ROWS = [tuple(row.split()) for line in TABLE.strip().splitlines() for row in line.split(" | ")]
SENML = """m kg g s A K cd mol Hz rad sr N Pa J W C V F Ohm S Wb T H
Cel lm lx Bq Gy Sv kat m2 m3 l m/s m/s2 m3/s l/s W/m2 cd/m2
bit bit/s lat lon pH dB dBW Bspl count / % %RH %EL EL 1/s 1/min beat/min beats S/m B VA VAs var vars J/m kg/m3 deg
ms min h MHz kW kVA kvar Ah Wh kWh varh kvarh kVAh Wh/km KiB GB Mbit/s B/s MB/s mV mA dBm ug/m3 mm/h m/h ppm /100 /1000
hPa mm cm km km/h"""


@pytest.mark.parametrize(("sent", "stored", "factor", "offset"), ROWS)
def test_every_spelling_becomes_the_metrics_own(sent: str, stored: str, factor: str, offset: str) -> None:
    assert conversion(sent, stored) == Conversion(
        pytest.approx(float(factor), rel=1e-9), pytest.approx(float(offset), abs=1e-9)
    )


@pytest.mark.parametrize("unit", SENML.split())
def test_senmls_units_are_themselves(unit: str) -> None:
    assert conversion(unit, unit) == conversion(unit, "") == conversion("", unit) == SAME


@pytest.mark.parametrize(
    ("sent", "stored"),
    [
        ("m", "V"), ("毫米", "V"), ("nonsense", "m"), ("m", "nonsense"), ("C", "A"), ("%RH", "°C"), ("%RH", "%LEL"),
        ("dB", "dBm"), ("dBm", "m"), ("dB", "%"), ("m", "dB"), ("%LEL", "ppm"), ("kg", "m³"), ("°C", "°"),
    ],
)  # fmt: skip
def test_what_is_another_quantity_is_refused(sent: str, stored: str) -> None:
    assert conversion(sent, stored) is None


@pytest.mark.parametrize(
    "text",
    [
        "9**9**9**9",
        "m**99999999",
        "m^9^9^9",
        "(((",
        "1e400 m",
        "a" * 5000,
        "m*" * 3000,
        "10 mm",
        "m;m",
        "\x00",
    ],
)
def test_a_strangers_text_is_never_reckoned(text: str) -> None:
    assert conversion(text, "m") is None


@given(text=st.text(max_size=40))
def test_any_text_is_answered(text: str) -> None:
    found = conversion(text, "m")
    assert found is None or found.factor


def test_coulomb_and_farad_stay_what_they_are_beside_their_own() -> None:
    assert conversion("C", "mC") == Conversion(1000.0, 0.0)
    assert conversion("F", "mF") == Conversion(1000.0, 0.0)
