import itertools

import numpy as np
import torch

SHAPE = (10, 16, 32)


OFFSETS = torch.tensor(
    [o for o in itertools.product((-1, 0, 1), repeat=3) if o != (0, 0, 0)], dtype=torch.float32
)


def random_coords(seed, number=80, batch_size=2, shape=SHAPE):
    rng = np.random.default_rng(seed)
    cells = [rng.choice(np.prod(shape), number, replace=False) for _ in range(batch_size)]
    columns = [np.unravel_index(c, shape) for c in cells]
    return np.concatenate(
        [np.stack([np.full(number, b), *c], 1) for b, c in enumerate(columns)], dtype=np.int32
    )
