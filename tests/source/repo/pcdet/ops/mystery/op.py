"""An operation of this fork alone."""

from . import mystery_cuda


def mystery(features):
    return mystery_cuda.forward(features)
