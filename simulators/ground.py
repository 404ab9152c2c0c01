"""An invented piece of ground: cells that tile it exactly, grouped into communities and streets.

Random numbers go in; cells with rings in WGS84 degrees come out. Two neighbouring cells hold the very same
vertices along their border, so adjacency is a matter of shared edges and never of tolerances.
"""

from dataclasses import dataclass
from math import ceil, cos, radians, sqrt
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Point: TypeAlias = tuple[float, float]
Graph: TypeAlias = dict[int, set[int]]
Floats: TypeAlias = npt.NDArray[np.float64]

CELL_METRES = 320.0
METRES_PER_DEGREE = 111_320.0
# Open water south of the coast: nobody's streets can be mistaken for these.
CENTRE_LON, CENTRE_LAT = 115.2, 21.8


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One cell: closed counter-clockwise ring and centre in degrees, and the numbers of its groups."""

    ring: tuple[Point, ...]
    centre: Point
    community: int
    street: int


def lay_out(rng: np.random.Generator, *, cells: int, communities: int, streets: int) -> list[Cell]:
    """Cut the ground into irregular cells and group them; every group is one connected piece.

    Communities and streets are numbered from 0, streets from west to east and communities within them.
    Raises ValueError when there are fewer cells than communities, or fewer communities than streets.
    """
    if not 1 <= streets <= communities <= cells:
        raise ValueError(f"streets={streets} <= communities={communities} <= cells={cells} must hold")
    squares = _outline(rng, cells)
    rings = _rings(rng, squares)
    centres = np.array([np.mean(ring[:-1], axis=0) for ring in rings])
    neighbours = _neighbours(squares)
    community_of = _partition(neighbours, centres, communities, rng)
    street_of_community = _streets(neighbours, centres, community_of, streets, rng)
    order = _numbering(centres, community_of, street_of_community)
    return [
        Cell(
            ring=tuple(rings[i]),
            centre=(round(float(centres[i][0]), 6), round(float(centres[i][1]), 6)),
            community=order[community_of[i]],
            street=street_of_community[community_of[i]],
        )
        for i in range(len(rings))
    ]


def _outline(rng: np.random.Generator, cells: int) -> list[tuple[int, int]]:
    """The squares (column, row) nearest the middle of a wavy blob, in reading order."""
    columns, rows = ceil(sqrt(cells * 2.4)) + 4, ceil(sqrt(cells * 1.5)) + 4
    phases = rng.uniform(0, 2 * np.pi, 3)
    column, row = np.meshgrid(np.arange(columns), np.arange(rows))
    x, y = (column - columns / 2 + 0.5) / columns, (row - rows / 2 + 0.5) / rows
    angle = np.arctan2(y, x)
    reach = 1 + 0.12 * np.sin(2 * angle + phases[0]) + 0.08 * np.sin(3 * angle + phases[1])
    reach += 0.04 * np.sin(5 * angle + phases[2])
    distance = (np.hypot(x, y) / reach).ravel()
    chosen = np.sort(np.argsort(distance, kind="stable")[:cells])
    return [(int(i % columns), int(i // columns)) for i in chosen]


def _rings(rng: np.random.Generator, squares: list[tuple[int, int]]) -> list[list[Point]]:
    """Each square's ring with moved corners and one bend in every side, both shared with the neighbour."""
    width = max(c for c, _ in squares) + 2
    height = max(r for _, r in squares) + 2
    corner = rng.uniform(-0.24, 0.24, (width, height, 2))
    bend = rng.uniform(-0.09, 0.09, (2, width, height, 2))

    def place(x: float, y: float) -> Point:
        north = CENTRE_LAT + (y - height / 2) * CELL_METRES / METRES_PER_DEGREE
        scale = METRES_PER_DEGREE * cos(radians(CENTRE_LAT))
        return (round(CENTRE_LON + (x - width / 2) * CELL_METRES / scale, 6), round(north, 6))

    def vertex(c: int, r: int) -> tuple[float, float]:
        return c + corner[c, r, 0], r + corner[c, r, 1]

    def midpoint(a: tuple[int, int], b: tuple[int, int]) -> Point:
        low = min(a, b)
        side = bend[0 if a[1] == b[1] else 1, low[0], low[1]]
        (ax, ay), (bx, by) = vertex(*min(a, b)), vertex(*max(a, b))
        return place((ax + bx) / 2 + side[0], (ay + by) / 2 + side[1])

    rings = []
    for c, r in squares:
        corners = [(c, r), (c + 1, r), (c + 1, r + 1), (c, r + 1)]
        ring: list[Point] = []
        for here, there in zip(corners, [*corners[1:], corners[0]], strict=True):
            ring += [place(*vertex(*here)), midpoint(here, there)]
        rings.append([*ring, ring[0]])
    return rings


def _neighbours(squares: list[tuple[int, int]]) -> Graph:
    number = {square: i for i, square in enumerate(squares)}
    graph: Graph = {}
    for (c, r), i in number.items():
        beside = ((c + 1, r), (c - 1, r), (c, r + 1), (c, r - 1))
        graph[i] = {number[square] for square in beside if square in number}
    return graph


def _partition(graph: Graph, centres: Floats, parts: int, rng: np.random.Generator) -> list[int]:
    """Grow `parts` connected regions of about equal size; returns each member's region number."""
    seeds = _spread(centres, parts, rng)
    region = [-1] * len(graph)
    members: list[list[int]] = [[seed] for seed in seeds]
    for number, seed in enumerate(seeds):
        region[seed] = number
    growing = set(range(parts))
    while growing:
        smallest = min(growing, key=lambda part: (len(members[part]), part))
        frontier = {j for i in members[smallest] for j in graph[i] if region[j] < 0}
        if not frontier:
            growing.discard(smallest)
            continue
        home = centres[seeds[smallest]]
        nearest = min(frontier, key=lambda j: (float(np.hypot(*(centres[j] - home))), j))
        region[nearest] = smallest
        members[smallest].append(nearest)
    return region


def _spread(centres: Floats, parts: int, rng: np.random.Generator) -> list[int]:
    """Distinct members spread evenly over the ground (a few rounds of Lloyd's relaxation)."""
    middles = centres[rng.choice(len(centres), parts, replace=False)]
    for _ in range(12):
        nearest = np.argmin(((centres[:, None, :] - middles[None, :, :]) ** 2).sum(axis=2), axis=1)
        middles = np.array(
            [centres[nearest == k].mean(axis=0) if (nearest == k).any() else middles[k] for k in range(parts)]
        )
    seeds: list[int] = []
    for middle in middles:
        for i in np.argsort(((centres - middle) ** 2).sum(axis=1), kind="stable"):
            if int(i) not in seeds:
                seeds.append(int(i))
                break
    return seeds


def _streets(
    graph: Graph, centres: Floats, community_of: list[int], streets: int, rng: np.random.Generator
) -> list[int]:
    """Group communities as cells were grouped; streets numbered from west to east."""
    count = max(community_of) + 1
    between: Graph = {k: set() for k in range(count)}
    for i, others in graph.items():
        for j in others:
            if community_of[i] != community_of[j]:
                between[community_of[i]].add(community_of[j])
    of = np.array(community_of)
    middles = np.array([centres[of == k].mean(axis=0) for k in range(count)])
    street_of = _partition(between, middles, streets, rng)
    west = sorted(
        range(streets),
        key=lambda s: float(np.mean([middles[k][0] for k in range(count) if street_of[k] == s])),
    )
    rank = {s: n for n, s in enumerate(west)}
    return [rank[s] for s in street_of]


def _numbering(centres: Floats, community_of: list[int], street_of: list[int]) -> dict[int, int]:
    """New community numbers: by street, then from north to south."""
    of = np.array(community_of)
    north = {k: float(centres[of == k][:, 1].mean()) for k in range(len(street_of))}
    ordered = sorted(north, key=lambda k: (street_of[k], -north[k]))
    return {k: n for n, k in enumerate(ordered)}
