"""What goes wrong in a repository, one way a class."""

import os
import pickle
import shutil
import subprocess
import time
from pathlib import Path

import numpy as np
import open3d
import torch
from torch import nn

from ...ops.mystery.op import mystery


class _Failing(nn.Module):
    def __init__(self, cfg, num_class, dataset):
        super().__init__()
        self.layer = nn.Linear(dataset.point_feature_encoder.num_point_features, 4)

    def forward(self, batch):
        out = self.layer(batch["points"][:, 1:])
        self.fail(out)
        return {"loss": out.mean()}, {}, {}

    def fail(self, out):
        pass


class Aborting(_Failing):
    def fail(self, out):
        os.abort()


class Exiting(_Failing):
    def fail(self, out):
        print("about to leave")
        os._exit(3)


class Dumping(_Failing):
    def fail(self, out):
        Path("dump.pkl").write_bytes(pickle.dumps("state"))
        raise SystemExit(1)


class Hanging(_Failing):
    def fail(self, out):
        time.sleep(600)


class MissingPackage(_Failing):
    def fail(self, out):
        open3d.resize(out)


class UnknownOp(_Failing):
    def fail(self, out):
        mystery(out)


class Downloading(_Failing):
    def __init__(self, cfg, num_class, dataset):
        super().__init__(cfg, num_class, dataset)
        weights = torch.hub.load_state_dict_from_url("https://example.invalid/weights.pth")
        self.layer.load_state_dict(weights["model"])


class AskingForRadar(_Failing):
    def forward(self, batch):
        try:
            batch["depth_maps"]
        except KeyError:
            return super().forward({"points": batch["radar_cube"]})


class Leaving(_Failing):
    def fail(self, out):
        exit()


class Asserting(_Failing):
    def fail(self, out):
        assert out.dim() == 7


class Mismatching(_Failing):
    def fail(self, out):
        nn.Linear(3, 5)(out)


class Unreadable(_Failing):
    def fail(self, out):
        raise ValueError("the second line\n matters too")


class Starting(_Failing):
    def fail(self, out):
        assert subprocess.run(["echo", "x"], check=True, capture_output=True).stdout == b""
        os.kill(os.getppid(), 0)


class Writing(_Failing):
    """Writes wherever it can, and reads again what it wrote."""

    def fail(self, out):
        here = Path(__file__)
        assert Path("cfgs/datasets/tiny.yaml").read_text()
        assert Path("../pcdet/__init__.py").exists()
        assert (here.parent / "one_stage.py").read_text()
        np.save(here.parent / "mask.npy", np.arange(3))
        assert np.load(here.parent / "mask.npy").tolist() == [0, 1, 2]
        torch.save({"a": 1}, here.parent / "state.pth")
        with open("dump.pkl", "wb") as file:
            pickle.dump([1], file)
        os.makedirs("cfgs/new/deep", exist_ok=True)
        os.makedirs("cfgs/new/deep", exist_ok=True)
        with open("cfgs/new/deep/log.txt", "a") as file:
            file.write("x")
        with open(here.parent / "one_stage.py", "a") as file:
            file.write("# changed")
        assert (here.parent / "one_stage.py").read_text().endswith("# changed")
        os.remove(here.parent / "two_stage.py")
        os.replace(here.parent / "one_stage.py", here.parent / "moved.py")
        os.chmod(here, 0o777)
        shutil.copy("cfgs/datasets/tiny.yaml", here.parent / "copy.yaml")
        (here.parent / "touched").touch()
        Path("/etc/bevdiag-wrote-this").write_text("x")
