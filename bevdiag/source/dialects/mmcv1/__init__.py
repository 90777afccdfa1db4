"""mmdetection3d 0.x and its plugins: mmcv 1.x, `return_loss=True`, containers of data."""

from functools import partial

from bevdiag.source.dialects import python_configs

required = partial(
    python_configs.required, needs="mmcv or mmcv-full 1.x, mmdet 2.x and mmdet3d before 1.1"
)
"""Import a module of the packages that this family stands on."""
