"""Optimizers under names of their own."""

from torch import optim


class Wrapper:
    """Decays the weights itself, as fastai's does, and hands on the rest."""

    def __init__(self, opt):
        self.opt = opt

    def step(self):
        for group in self.opt.param_groups:
            for parameter in group["params"]:
                parameter.data.mul_(0.99)
        self.opt.step()

    def __getattr__(self, name):
        return getattr(self.opt, name)


def build_optimizer(model, optim_cfg):
    if optim_cfg.OPTIMIZER == "adam_cosin":
        return Wrapper(optim.Adam(model.parameters(), lr=1e-3))
    if optim_cfg.OPTIMIZER == "adamW":
        return optim.AdamW(model.layer.parameters(), lr=1e-3)
    raise NotImplementedError(f"there is no optimizer {optim_cfg.OPTIMIZER}")
