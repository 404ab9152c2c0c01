"""The tables of GB/T 26875.3-2011 that say what a number means: types of component, status bits, analog values.

Keys are ours, names of components are the standard's. What the standard leaves to the user (128-255) is no entry.
"""

from types import MappingProxyType
from typing import NamedTuple

TRANSMITTER = "用户信息传输装置"  # the model of what sends; profiles know it by this
MANUAL = "手动报警键"  # the model of the key at a panel or transmitter

# Status bits from bit 0 on; bit 0 is 1 in normal operation and 0 under test, so that it has no name here.
SYSTEM_BITS = (
    "", "fire", "fault", "shielded", "supervisory", "started", "feedback", "delay",
    "main_power_fault", "backup_power_fault", "bus_fault", "manual", "config_changed", "reset",
)  # fmt: skip  # 8.2.1.1, type 1
COMPONENT_BITS = (
    "", "fire", "fault", "shielded", "supervisory", "started", "feedback", "delay", "power_fault",
)  # fmt: skip  # 8.2.1.2, type 2
TRANSMITTER_BITS = (
    "", "fire", "fault", "main_power_fault", "backup_power_fault", "channel_fault", "line_fault",
)  # fmt: skip  # 8.2.1.8, type 21: another order than that of systems

# Bits of an operation record: 8.2.1.4 (type 4) and 8.2.1.9 (type 24), which differ in bit 5.
SYSTEM_OPERATIONS = ("reset", "silence", "manual_alarm", "alarm_cleared", "self_check", "confirm", "test")
TRANSMITTER_OPERATIONS = (
    "reset", "silence", "manual_alarm", "alarm_cleared", "self_check", "duty_answer", "test",
)  # fmt: skip


class Analog(NamedTuple):
    """One type of analog value: ``value = raw / per_unit``."""

    key: str
    unit: str
    per_unit: int


# 8.2.1.3. The printed table gives type 5 steps of 0.1 MPa beside a range in kPa: the step is 0.1 kPa.
ANALOGS = MappingProxyType({
    1: Analog("events", "", 1),
    2: Analog("height", "m", 100),
    3: Analog("temperature", "Cel", 10),
    4: Analog("pressure", "MPa", 10),
    5: Analog("pressure", "kPa", 10),
    6: Analog("gas", "%LEL", 10),
    7: Analog("duration", "s", 1),
    8: Analog("voltage", "V", 10),
    9: Analog("current", "A", 10),
    10: Analog("water_flow", "L/s", 10),
    11: Analog("air_flow", "m³/min", 10),
    12: Analog("wind_speed", "m/s", 1),
})  # fmt: skip

# 8.2.1.1, what a system is
SYSTEMS = MappingProxyType({
    0: "通用", 1: "火灾报警系统", 10: "消防联动控制器", 11: "消火栓系统", 12: "自动喷水灭火系统",
    13: "气体灭火系统", 14: "水喷雾灭火系统（泵启动方式）", 15: "水喷雾灭火系统（压力容器启动方式）",
    16: "泡沫灭火系统", 17: "干粉灭火系统", 18: "防烟排烟系统", 19: "防火门及卷帘系统", 20: "消防电梯",
    21: "消防应急广播", 22: "消防应急照明和疏散指示系统", 23: "消防电源", 24: "消防电话",
})  # fmt: skip

# 8.2.1.2, what a component is
COMPONENTS = MappingProxyType({
    0: "通用", 1: "火灾报警控制器",
    10: "可燃气体探测器", 11: "点型可燃气体探测器", 12: "独立式可燃气体探测器", 13: "线型可燃气体探测器",
    16: "电气火灾监控报警器", 17: "剩余电流式电气火灾监控探测器", 18: "测温式电气火灾监控探测器",
    21: "探测回路", 22: "火灾显示盘", 23: "手动火灾报警按钮", 24: "消火栓按钮", 25: "火灾探测器",
    30: "感温火灾探测器", 31: "点型感温火灾探测器", 32: "点型感温火灾探测器（S型）",
    33: "点型感温火灾探测器（R型）", 34: "线型感温火灾探测器", 35: "线型感温火灾探测器（S型）",
    36: "线型感温火灾探测器（R型）", 37: "光纤感温火灾探测器",
    40: "感烟火灾探测器", 41: "点型离子感烟火灾探测器", 42: "点型光电感烟火灾探测器",
    43: "线型光束感烟火灾探测器", 44: "吸气式感烟火灾探测器",
    50: "复合式火灾探测器", 51: "复合式感烟感温火灾探测器", 52: "复合式感光感温火灾探测器",
    53: "复合式感光感烟火灾探测器", 61: "紫外火焰探测器", 62: "红外火焰探测器", 69: "感光火灾探测器",
    74: "气体探测器", 78: "图像摄像方式火灾探测器", 79: "感声火灾探测器",
    81: "气体灭火控制器", 82: "消防电气控制装置", 83: "消防控制室图形显示装置", 84: "模块", 85: "输入模块",
    86: "输出模块", 87: "输入/输出模块", 88: "中继模块",
    91: "消防水泵", 92: "消防水箱", 95: "喷淋泵", 96: "水流指示器", 97: "信号阀", 98: "报警阀", 99: "压力开关",
    101: "阀驱动装置", 102: "防火门", 103: "防火阀", 104: "通风空调", 105: "泡沫液泵", 106: "管网电磁阀",
    111: "防烟排烟风机", 113: "排烟防火阀", 114: "常闭送风口", 115: "排烟口", 116: "电控挡烟垂壁",
    117: "防火卷帘控制器", 118: "防火门监控器", 121: "报警装置",
})  # fmt: skip


def model(names: MappingProxyType[int, str], number: int) -> str:
    """A type as the register's model: its name and number, so that a profile can take ``*(40)``."""
    return f"{names.get(number, '其他')} ({number})"
