"""A large branch and a small one, and twenty ways to ask the features which of them runs."""

import torch
from torch import nn

LARGE, SMALL = 64, 2


def _early_return(x):
    def width():
        if x.sum() == 12345:
            return SMALL
        return LARGE

    return width()


def _while(x):
    width = SMALL
    while width < LARGE and x.abs().max() > 0:
        width *= 2
    return width


def _loop(x):
    return sum(1 for row in x[:LARGE] if row[0] >= -1e9)


def _near(x):
    """Rows that a compiled operation writes, over zeros."""
    from ...ops.pointnet2_stack.groups import ball

    places = x[:, :3].detach().contiguous()
    counts = torch.tensor([len(x)], dtype=torch.int32, device=x.device)
    return ball(5.0, 2, places, counts, places, counts)


def _repeated(x):
    """A write under a mask of as many rows as a sum of counts."""
    filled = x.detach().clone()
    filled[filled > 0] = torch.repeat_interleave(filled[:, 0], (filled > 0).sum(-1), dim=0)
    return filled


WAYS = {
    "isnan": lambda x: SMALL if torch.isnan(x).any() else LARGE,
    "isfinite": lambda x: LARGE if torch.isfinite(x).all() else SMALL,
    "sum_le_0": lambda x: SMALL if (x > 0).sum() <= 0 else LARGE,
    "sum_lt_1": lambda x: SMALL if (x > 0).sum() < 1 else LARGE,
    "sum_eq_0": lambda x: SMALL if (x > 0).sum() == 0 else LARGE,
    "item_lt_10": lambda x: SMALL if (x > 0).sum().item() < 10 else LARGE,
    "int": lambda x: LARGE if int((x > 0).sum()) > 3 else SMALL,
    "float": lambda x: LARGE if float(x.abs().sum()) > 0 else SMALL,
    "mean": lambda x: SMALL if x.mean() > 1e6 else LARGE,
    "mean_item": lambda x: SMALL if x.mean().item() > 1e6 else LARGE,
    "max_item": lambda x: LARGE if x.max().item() > -1e6 else SMALL,
    "any": lambda x: LARGE if (x != 0).any() else SMALL,
    "all": lambda x: SMALL if (x == 0).all() else LARGE,
    "not_any": lambda x: SMALL if not (x != 0).any() else LARGE,
    "len_nonzero": lambda x: LARGE if len((x != 0).nonzero()) else SMALL,
    "len_mask": lambda x: LARGE if len(x[x[:, 0] > -1e9]) > 3 else SMALL,
    "tolist": lambda x: LARGE if max(x[:, 0].tolist()) > -1e6 else SMALL,
    "numpy": lambda x: LARGE if x.detach().cpu().numpy().max() > -1e6 else SMALL,
    "early_return": _early_return,
    "while": _while,
    "unique": lambda x: LARGE if len(torch.unique(x[:, 0])) > 2 else SMALL,
    "python_if": lambda x: LARGE if x.abs().sum() else SMALL,
    "operator": lambda x: LARGE if _near(x).max() > 0 else SMALL,
    "repeats": lambda x: LARGE if len(_repeated(x)) > 3 else SMALL,
    "arithmetic": lambda x: SMALL if 2 * x.sum().item() + 1 == 12345 else LARGE,
}


class Asking(nn.Module):
    def __init__(self, cfg, num_class, dataset):
        super().__init__()
        self.way = cfg.WAY
        self.layer = nn.Linear(dataset.point_feature_encoder.num_point_features, 16)
        self.wide = nn.Linear(16, LARGE)

    def forward(self, batch):
        x = self.layer(batch["points"][:, 1:])
        width = LARGE if self.way == "plain" else WAYS[self.way](x)
        out = (x @ self.wide.weight[:width].T).relu().exp().sigmoid()
        return {"loss": out.mean()}, {"loss": out.mean().item()}, {}
