"""A registry of models."""

MODELS = {}


def build_model(config, train_cfg=None, test_cfg=None):
    settings = dict(config)
    return MODELS[settings.pop("type")](**settings)
