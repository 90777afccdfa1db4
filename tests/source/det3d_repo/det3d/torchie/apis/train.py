import torch


class OptimWrapper:
    def __init__(self, opt):
        self.opt = opt


def build_one_cycle_optimizer(model, settings):
    assert settings.wd
    return OptimWrapper(torch.optim.Adam(model.parameters(), betas=(0.9, 0.99)))


def build_optimizer(model, settings):
    plain = {key: settings[key] for key in settings if key != "type"}
    return getattr(torch.optim, settings.type)(model.parameters(), **plain)
