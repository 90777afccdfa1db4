"""A repository with its own data pipeline, compiled operations and a package of its own."""

from .detectors import DETECTORS


def build_network(model_cfg, num_class, dataset, logger):
    logger.info("building %s", model_cfg.NAME)
    return DETECTORS[model_cfg.NAME](model_cfg, num_class, dataset)
