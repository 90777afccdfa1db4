"""Runs layers on the real spconv's CPU code; started as a child, since its import takes seconds.

Usage: python spconv_oracle.py CASES RESULTS, both pickles. A case is a dict of the layer's class
and arguments, its input and its weight; a result holds the output's coordinates and features and
the gradients of their weighted sum, and the parameters that each layer drew for seed 0. Exits with
3 where spconv cannot be imported.
"""

import pickle
import sys
import warnings

import numpy as np
import torch


def run(spconv, algo, case):
    features = torch.from_numpy(case["features"]).requires_grad_()
    tensor = spconv.SparseConvTensor(
        features, torch.from_numpy(case["coordinates"]), case["spatial_shape"], case["batch_size"]
    )
    torch.manual_seed(0)
    drawn = []
    for layer in case["layers"]:
        module = getattr(spconv, layer["type"])(*layer["args"], **layer["kwargs"], algo=algo)
        drawn += [parameter.detach().numpy().copy() for parameter in module.parameters()]
        if "weight" in layer:
            module.weight.data = torch.from_numpy(layer["weight"])
        tensor = module(tensor)
    out = tensor.features
    # Weighted by the cell, so that the gradient does not depend on the rows' order.
    scale = torch.from_numpy(np.cos(tensor.indices.numpy().sum(axis=1, dtype=np.float64))).float()
    (out * scale[:, None]).sum().backward()
    return {
        "coordinates": tensor.indices.numpy(),
        "spatial_shape": list(tensor.spatial_shape),
        "features": out.detach().numpy(),
        "grad_features": features.grad.numpy(),
        "drawn": drawn,
    }


def main(cases_path, results_path):
    warnings.simplefilter("ignore")
    try:
        import spconv.pytorch as spconv
        from spconv.core import ConvAlgo
    except ImportError as error:
        print(error, file=sys.stderr)
        return 3
    with open(cases_path, "rb") as file:
        cases = pickle.load(file)
    results = [run(spconv, ConvAlgo.Native, case) for case in cases]
    with open(results_path, "wb") as file:
        pickle.dump(results, file)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
