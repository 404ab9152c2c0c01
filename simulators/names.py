"""Invented names, Chinese with their English form: no street, river or person here exists."""

STREETS = (
    ("青岚", "Qinglan"),
    ("望溪", "Wangxi"),
    ("松墨", "Songmo"),
    ("雁禾", "Yanhe"),
    ("云樟", "Yunzhang"),
    ("石澜", "Shilan"),
    ("竹霁", "Zhuji"),
    ("星塬", "Xingyuan"),
)

_FIRST = (
    ("晴", "Qing"),
    ("禾", "He"),
    ("枫", "Feng"),
    ("砚", "Yan"),
    ("霁", "Ji"),
    ("苇", "Wei"),
    ("芷", "Zhi"),
    ("棠", "Tang"),
)
_SECOND = (("坞", "wu"), ("陌", "mo"), ("汀", "ting"), ("垄", "long"), ("圃", "pu"))

RIVERS = (("墨澜河", "Molan River"), ("晴溪", "Qing Brook"), ("霁川", "Ji Stream"), ("苇渠", "Wei Canal"))
RESERVOIR = ("青岚上库", "Upper Qinglan Reservoir")

# Family names only, with the post: a lead is a post here, not a person.
SURNAMES = (
    ("林", "Lin"),
    ("周", "Zhou"),
    ("沈", "Shen"),
    ("许", "Xu"),
    ("陆", "Lu"),
    ("秦", "Qin"),
    ("叶", "Ye"),
    ("唐", "Tang"),
    ("宋", "Song"),
    ("江", "Jiang"),
)


def street(number: int) -> tuple[str, str]:
    """Name of a street, numbered from 0; beyond the invented names it carries its number."""
    if number < len(STREETS):
        name, name_en = STREETS[number]
        return f"{name}街道", f"{name_en} Street"
    return f"第{number + 1}街道", f"Street {number + 1}"


def community(number: int) -> tuple[str, str]:
    """Name of a community, numbered from 0 over the whole district."""
    first, second = number % len(_FIRST), number // len(_FIRST)
    if second < len(_SECOND):
        # The second part is turned by the first so that neighbours do not all end alike.
        tail = _SECOND[(second + first) % len(_SECOND)]
        return f"{_FIRST[first][0]}{tail[0]}社区", f"{_FIRST[first][1]}{tail[1]} Community"
    return f"第{number + 1}社区", f"Community {number + 1}"
