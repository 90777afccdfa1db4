def example_to_device(example, device, non_blocking=False):
    moved = dict(example)
    for key in ("voxels", "num_points", "coordinates"):
        moved[key] = example[key].to(device, non_blocking=non_blocking)
    for key in ("points", "hm"):
        moved[key] = [entry.to(device, non_blocking=non_blocking) for entry in example[key]]
    return moved


def parse_second_losses(losses):
    logged = {key: [value.item() for value in values] for key, values in losses.items()}
    return sum(losses["loss"]), logged
