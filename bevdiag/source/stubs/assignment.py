"""The cheapest assignment of rows to columns, where SciPy is not installed.

Source: D. F. Crouse, "On implementing 2D rectangular assignment algorithms" (2016), shortest
augmenting paths, which SciPy follows as well.
"""

from typing import Any

import numpy as np

from bevdiag.source.stubs.arrays import Array, Ints


def linear_sum_assignment(cost_matrix: Any, maximize: bool = False) -> tuple[Ints, Ints]:
    """`scipy.optimize.linear_sum_assignment`: rows in order [K] and the column of each [K].

    Args:
        cost_matrix: [N, M]; K is the smaller of both. Infinite where a pair is ruled out.
        maximize: whether the sum is to be as large as possible.

    Raises:
        ValueError: no matrix of numbers, or none of its assignments is allowed.
    """
    cost = np.asarray(cost_matrix, dtype=np.float64)
    if cost.ndim != 2:
        raise ValueError(f"expected a matrix (2-D array), got a {cost.ndim} array")
    cost = -cost if maximize else cost
    if np.isnan(cost).any() or (cost == -np.inf).any():
        raise ValueError("matrix contains invalid numeric entries")
    if cost.shape[0] > cost.shape[1]:
        columns, rows = _assigned(cost.T)
        order = rows.argsort()
        return rows[order], columns[order]
    return _assigned(cost)


def _assigned(cost: Array) -> tuple[Ints, Ints]:
    """For no more rows than columns. Column 0 is a place to start from; all others are one up."""
    num_rows, num_columns = cost.shape
    of_rows, of_columns = np.zeros(num_rows + 1), np.zeros(num_columns + 1)
    row_at = np.zeros(num_columns + 1, dtype=np.int64)
    came_from = np.zeros(num_columns + 1, dtype=np.int64)
    for row in range(1, num_rows + 1):
        row_at[0], column = row, 0
        shortest = np.full(num_columns + 1, np.inf)
        visited = np.zeros(num_columns + 1, dtype=bool)
        while row_at[column] or column == 0:
            visited[column] = True
            last = row_at[column]
            reduced = np.append(np.inf, cost[last - 1] - of_rows[last] - of_columns[1:])
            better = ~visited & (reduced < shortest)
            shortest[better], came_from[better] = reduced[better], column
            column = int(np.where(visited, np.inf, shortest).argmin())
            step = shortest[column]
            if visited[column] or not np.isfinite(step):
                raise ValueError("cost matrix is infeasible")
            of_rows[row_at[visited]] += step
            of_columns[visited] -= step
            shortest[~visited] -= step
        while column:
            row_at[column] = row_at[came_from[column]]
            column = int(came_from[column])
    places = np.flatnonzero(row_at[1:])
    order = row_at[1:][places].argsort()
    return row_at[1:][places][order] - 1, places[order]
