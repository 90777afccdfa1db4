"""mmdetection3d 1.x and what is built on it: Python configs, registries, `loss` mode."""

from functools import partial

from bevdiag.source.dialects import python_configs

required = partial(python_configs.required, needs="mmengine, mmcv or mmcv-lite, and mmdet")
"""Import a module of the packages that this family stands on."""
