"""mmdetection3d 0.x and its plugins: mmcv 1.x, `return_loss=True`, containers of data."""
