"""What is said about outlines, in Chinese and English. Pure."""

from city.outlines import Finding

Words = tuple[str, str]


def said(finding: Finding) -> Words:
    """One sentence about a finding, with what to do where it is a fault."""
    size = f"{finding.square_metres:,.0f}"
    match finding.what:
        case "crosses":
            return (
                "边界自相交，请移开交叉处的折点",
                "the outline crosses itself; move the corners there apart",
            )
        case "empty":
            return "面积不足 1 平方米，请重新绘制", "it is smaller than one square metre; draw it again"
        case "overlaps":
            return (
                f"与“{finding.other}”重叠 {size} 平方米，请一并调整相邻边界",
                f"it overlaps {finding.other!r} by {size} m²; move the shared edge of both",
            )
        case "overlapped_before":
            return (
                f"原已与“{finding.other}”重叠 {size} 平方米，可以保存",
                f"it overlapped {finding.other!r} before, by {size} m² now; it can be saved",
            )
        case "outside":
            return (
                f"有 {size} 平方米在上级区域之外",
                f"{size} m² lie outside the area above",
            )
        case "uncovered":
            return (
                f"有 {size} 平方米不再属于任何区域",
                f"{size} m² belong to no area any more",
            )


def held(devices: int, below: int, responsibilities: int) -> Words | None:
    """Why an area cannot end yet; None when nothing holds it."""
    zh = [
        *([f"设备 {devices} 台"] if devices else []),
        *([f"下级区域 {below} 个"] if below else []),
        *([f"职责 {responsibilities} 条"] if responsibilities else []),
    ]
    en = [
        *([f"{devices} devices"] if devices else []),
        *([f"{below} areas below it"] if below else []),
        *([f"{responsibilities} responsibilities"] if responsibilities else []),
    ]
    if not zh:
        return None
    return f"还有{'、'.join(zh)}，请先移走", f"it still has {', '.join(en)}; move those first"
