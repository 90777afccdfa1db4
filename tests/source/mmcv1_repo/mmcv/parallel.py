"""Containers that say where their data goes, and samples joined to a batch of them."""

import torch


class DataContainer:
    def __init__(self, data, stack=False, padding_value=0, cpu_only=False, pad_dims=2):
        self._data, self.stack, self.cpu_only = data, stack, cpu_only
        self.padding_value, self.pad_dims = padding_value, pad_dims

    @property
    def data(self):
        return self._data


def collate(samples, samples_per_gpu):
    assert len(samples) == samples_per_gpu
    batch = {}
    for key, first in samples[0].items():
        held = [sample[key].data for sample in samples]
        joined = torch.stack(held) if first.stack else held
        batch[key] = DataContainer([joined], first.stack, cpu_only=first.cpu_only)
    return batch
