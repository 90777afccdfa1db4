"""A synthetic cloud thinned until it holds as many points and cells as measured frames do.

From the coarsest stride to the finest, as many cells are kept as were measured, each with at least
one finer cell of those that are kept next. So all strides come out at once.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from bevdiag.errors import InputError
from bevdiag.scenes.layout import Points
from bevdiag.scenes.scenario import Scenario
from bevdiag.scenes.statistics import STRIDES, SceneStatistics, keys_of

_MOST_CLOUDS = 8
"""That are laid over one another until there are enough cells to choose from."""

Cloud = Callable[[int], Points]
"""A synthetic cloud within the statistics' range, by its number."""


def matched(cloud: Cloud, statistics: SceneStatistics, scenario: Scenario, seed: int) -> Points:
    """Make a cloud with the counts that this scenario's frame has.

    The points are exact; the cells are as many as were measured where up to eight synthetic clouds
    together hold as many finer cells inside the coarser ones that were kept, else a few fewer.

    Returns:
        float32 [N, F], inside the statistics' range.

    Raises:
        InputError: the synthetic clouds have no point there.
    """
    targets = [round(row.cells.of(scenario)) for row in statistics.voxels]
    num_points = max(1, round(statistics.points.of(scenario)))
    pool = _pool(cloud, statistics, targets)
    kept = np.arange(len(pool))
    cells = statistics.grid.cells(pool)
    for stride, target in reversed(list(zip(STRIDES, targets, strict=True))):
        coarser = keys_of(cells[kept], 2 * stride)
        parents = np.zeros_like(coarser) if stride == STRIDES[-1] else coarser
        kept = kept[_chosen(keys_of(cells[kept], stride), parents, max(1, target))]
    return pool[_points(keys_of(cells[kept], 1), kept, num_points, np.random.default_rng(seed))]


def _pool(cloud: Cloud, statistics: SceneStatistics, targets: list[int]) -> Points:
    """Clouds laid over one another, the first one's points first, until they have the cells."""
    clouds: list[Points] = []
    for number in range(_MOST_CLOUDS):
        clouds.append(cloud(number))
        pool = np.concatenate(clouds)
        cells = statistics.grid.cells(pool)
        counts = [len(np.unique(keys_of(cells, stride))) for stride in STRIDES]
        if all(count >= target for count, target in zip(counts, targets, strict=True)):
            break
    if not len(pool):
        raise InputError(
            "no synthetic scene of this kind has a point inside the range of the --scene file: "
            "measure with the config's own range"
        )
    return pool


def _chosen(keys: NDArray[np.int64], parents: NDArray[np.int64], target: int) -> NDArray[np.bool_]:
    """Which points lie in the `target` cells that stay: one for each parent, then the earliest."""
    children, first, child_of = np.unique(keys, return_index=True, return_inverse=True)
    order = np.argsort(first)
    _, leads = np.unique(parents[first[order]], return_index=True)
    rest = np.delete(order, leads)
    stay = np.zeros(len(children), bool)
    stay[np.concatenate((order[leads], rest))[: max(target, len(leads))]] = True
    kept: NDArray[np.bool_] = stay[child_of]
    return kept


def _points(
    keys: NDArray[np.int64],
    kept: NDArray[np.int64],
    num_points: int,
    rng: np.random.Generator,
) -> NDArray[np.int64]:
    """One point of every cell, and others, of some twice, up to the number wanted; shuffled."""
    _, first = np.unique(keys, return_index=True)
    missing = max(0, num_points - len(first))
    others = np.delete(np.arange(len(keys)), first)
    if missing <= len(others):
        more = rng.permutation(others)[:missing]
    else:
        again = rng.integers(0, len(keys), missing - len(others))
        more = np.concatenate((others, again))
    chosen: NDArray[np.int64] = kept[rng.permutation(np.concatenate((first, more)))]
    return chosen
