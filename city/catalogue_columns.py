"""How a catalogue is written in a sheet: its columns and the few words that may stand in them, in both languages."""

import csv
import io
from collections.abc import Iterable, Mapping

from city import catalogue
from city.clocks import write_limits
from city.sheet_cells import guarded
from city.units import Automatic, Category, Clock, IncidentClass, Nature

# Column -> the Chinese headings that mean it, the first as we write it.
COLUMNS: Mapping[str, tuple[str, ...]] = {
    "code": ("编码", "代码", "类别编码"),
    "parent": ("上级", "上级编码", "父级编码"),
    "name": ("名称", "类别名称", "中文名称"),
    "name_en": ("英文名称", "英文名"),
    "class": ("类别等级", "等级", "分级"),
    "limit_minutes": ("时限分钟", "时限（分钟）", "时限(分钟)"),
    "clock": ("计时方式", "时钟"),
    "nature": ("性质", "诉求性质"),
    "importance": ("重要程度", "重要性"),
    "urgency": ("紧急程度", "紧急性"),
    "event_level": ("事件级别", "事件等级"),
    "limits": ("阶段时限", "各阶段时限"),
    "class_limits": ("分级时限", "等级时限"),
    "plan": ("预案", "预案编码"),
    "automatic": ("自动派遣", "自动分拨"),
    "active": ("启用", "是否启用"),
}
REQUIRED = ("code", "name")
CLOCKS: Mapping[str, Clock] = {
    "natural": "natural",
    "自然": "natural",
    "working": "working",
    "工作": "working",
}
NATURES: Mapping[str, Nature] = {
    **{word: nature for nature, word in catalogue.NATURES.items()},
    **{nature: nature for nature in catalogue.NATURES},
    "求助": "request",
}
AUTOMATIC: Mapping[str, Automatic] = {
    **{word: kind for kind, word in catalogue.AUTOMATIC.items()},
    **{kind: kind for kind in catalogue.AUTOMATIC},
}
ACTIVE: Mapping[str, bool] = {
    **dict.fromkeys(("1", "yes", "true", "是", "启用"), True),
    **dict.fromkeys(("0", "no", "false", "否", "停用"), False),
}
CLASSES: Mapping[str, IncidentClass] = {one: one for one in catalogue.CLASSES}
LEVELS: Mapping[str, int] = {
    **{str(number): number for number in (1, 2, 3, 4)},
    **dict(zip(("一级", "二级", "三级", "四级"), (1, 2, 3, 4), strict=True)),
}
THREE: Mapping[str, int] = {
    **{str(number): number for number in (1, 2, 3)},
    **dict(zip(("低", "中", "高"), (1, 2, 3), strict=True)),
}


def texts_of(category: Category) -> dict[str, str]:
    """A category as the cells of a row, by column; what is as usual is empty."""
    return {
        "code": category.code,
        "parent": category.parent or "",
        "name": category.name,
        "name_en": category.name_en,
        "class": category.incident_class,
        "limit_minutes": str(category.limit_minutes),
        "clock": category.clock,
        "nature": category.nature,
        "importance": str(category.importance or ""),
        "urgency": str(category.urgency or ""),
        "event_level": str(category.event_level),
        "limits": write_limits(category.limits),
        "class_limits": catalogue.write_class_limits(category.class_limits),
        "plan": category.plan,
        "automatic": category.automatic,
        "active": "1" if category.active else "0",
    }


def written(categories: Iterable[Category], *, chinese: bool = False) -> str:
    """A catalogue as CSV that spreadsheets read, and ``catalogue_sheet.read_sheet``."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([headings[0] if chinese else column for column, headings in COLUMNS.items()])
    writer.writerows([guarded(text) for text in texts_of(category).values()] for category in categories)
    return text.getvalue()
