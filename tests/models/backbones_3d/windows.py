import numpy as np

from bevdiag.models.backbones_3d.dsvt_sets import WindowGrid

SET_SIZE = 4


GRID = WindowGrid((24, 16, 8), (8, 8, 4), (4, 4, 2))


def random_coords(seed=0, number=150):
    rng = np.random.default_rng(seed)
    cells = rng.choice(2 * 8 * 16 * 24, number, replace=False)
    return np.stack(np.unravel_index(cells, (2, 8, 16, 24)), axis=1).astype(np.int32)
