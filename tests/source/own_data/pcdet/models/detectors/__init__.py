import lattice
import spconv
import torch
from torch import nn

from ...ops.twist.twist import Widen, returned, twist, twist_into


class _Detector(nn.Module):
    def __init__(self, cfg, num_class, dataset):
        super().__init__()
        self.scales = dataset.num_scales
        self.layer = nn.Linear(dataset.point_feature_encoder.num_point_features, 4)

    def loss(self, x, batch):
        return x.mean()

    def forward(self, batch):
        x = self.layer(batch["points"][:, 1:])
        # Four values in place of the three that upstream returns.
        return {"loss": self.loss(x, batch)}, {}, {}, {"scales": self.scales}


class Plain(_Detector):
    def loss(self, x, batch):
        assert len(batch["halves"]) == batch["batch_size"]
        return (x * lattice.STEP).mean()


class Loose(_Detector):
    """A parameter of a module that has children."""

    def __init__(self, cfg, num_class, dataset):
        super().__init__(cfg, num_class, dataset)
        self.loose = nn.Parameter(torch.zeros(1000))

    def loss(self, x, batch):
        return x.mean() + self.loose.mean()


class Dynamic(_Detector):
    """Voxelizes the points itself."""

    def loss(self, x, batch):
        batch["point_coords"] = batch["points"][:, :4]
        batch["voxel_coords"] = torch.unique((batch["points"][:, :4] / 4).int(), dim=0)
        return x.mean()


class InParts(_Detector):
    """The training loop's function adds up the loss."""

    def forward(self, batch):
        x = self.layer(batch["points"][:, 1:])
        return {"part": x.mean(), "other_part": x.exp().mean()}, {}, {}, {}, self.scales


class Twisting(_Detector):
    def loss(self, x, batch):
        return twist(x).mean()


class TwistingLabels(_Detector):
    def loss(self, x, batch):
        labels = torch.zeros(len(x), dtype=torch.long, device=x.device)
        assert not labels.is_meta
        twist(labels)
        return x.mean()


class TwistingBoth(_Detector):
    """Labels that the wrapper allocates, beside the features that decide them."""

    def loss(self, x, batch):
        labels = x.new_zeros(len(x), dtype=torch.long)
        twist_into(x, labels)
        return x.mean() if labels.sum() == 0 else x.exp().mean()


class Geometric(_Detector):
    """A grid whose size is a parameter, as lift-splat models keep it."""

    def __init__(self, cfg, num_class, dataset):
        super().__init__(cfg, num_class, dataset)
        self.nx = nn.Parameter(torch.tensor([30, 20, 1]), requires_grad=False)
        self.dx = nn.Parameter(torch.tensor([0.5, 0.5]), requires_grad=False)
        self.frozen = nn.Linear(4, 4)
        self.frozen.weight.requires_grad_(False)

    def loss(self, x, batch):
        across = int(15.0 / self.dx[0])
        grid = torch.zeros((across, self.nx[1], 4), device=x.device)
        assert tuple(grid.shape) == (30, 20, 4)
        return (grid + self.frozen(x).mean()).mean()


class Assigning(_Detector):
    """Labels for predictions: how many are positive follows from the boxes alone."""

    def loss(self, x, batch):
        labels = x.new_full((len(x),), -1, dtype=torch.long)
        labels[:3] = 1
        positive = x[labels > 0]
        assert len(positive) == 3
        return torch.as_tensor(positive, device="cuda").mean()


class Returning(_Detector):
    def loss(self, x, batch):
        return returned(x).mean()


class Widening(_Detector):
    def loss(self, x, batch):
        return Widen.apply(x).mean()


class Cameras(_Detector):
    def loss(self, x, batch):
        images = batch["camera_imgs"]
        cameras = images.shape[1]
        matrices = batch["lidar2image"].view(-1, 4, 4)
        assert len(matrices) == len(images) * cameras
        # What lies before a camera is projected into its image.
        ahead = matrices[0] @ matrices.new_tensor([10.0, 0.0, 0.0, 1.0])
        assert 0 < ahead[0] / ahead[2] < images.shape[-1]
        return x.mean() + images.mean()


class FirstGeneration(_Detector):
    def __init__(self, cfg, num_class, dataset):
        super().__init__(cfg, num_class, dataset)
        self.conv = spconv.SubMConv3d(4, 4, 3, padding=1, indice_key="a")

    def loss(self, x, batch):
        grid = [40, 100, 100]
        cells = (batch["points"][:, 1:4] / 0.5).int()[:, [2, 1, 0]].clamp(0, 39)
        coords = torch.cat((batch["points"][:, :1].int(), cells), dim=1)
        sparse = self.conv(spconv.SparseConvTensor(x, coords, grid, 2))
        sparse.features = sparse.features.relu()
        return sparse.features.mean()


class Refining(_Detector):
    """Starts from the boxes that another detector's run left in a file."""

    def loss(self, x, batch):
        boxes, scores = batch["roi_boxes"], batch["roi_scores"]
        assert boxes.shape[:3] == scores.shape == batch["roi_labels"].shape
        assert (boxes[:, :, ::4, :7] == batch["gt_boxes"][:, None, :, :7]).all()
        return x.mean() + boxes.mean()


class ReadingTable(_Detector):
    def __init__(self, cfg, num_class, dataset):
        super().__init__(cfg, num_class, dataset)
        self.table = torch.load(cfg.TABLE).reshape(-1)


class Choosy(_Detector):
    def __init__(self, cfg, num_class, dataset):
        super().__init__(cfg, num_class, dataset)
        self.widths = [layer.WIDTH for layer in cfg.get("LAYERS", [])]
        self.head = dict(**cfg.HEAD) if "HEAD" in cfg else {}


class Pretrained(_Detector):
    """Takes the backbone's part of a checkpoint that is not there, and insists on finding it."""

    def __init__(self, cfg, num_class, dataset):
        super().__init__(cfg, num_class, dataset)
        self.init_weights()

    def init_weights(self):
        saved = torch.load("pretrained.pth", map_location="cpu")
        saved = saved.get("state_dict", saved)
        state = {k[len("backbone.") :]: v for k, v in saved.items() if k.startswith("backbone.")}
        if next(iter(state.keys())).startswith("module."):
            state = {k[7:]: v for k, v in state.items()}
        assert state["layer.weight"].shape == self.layer.weight.shape
        self.load_state_dict(state)


class PretrainedPart(_Detector):
    """Compares a checkpoint that is not there with a part that the detector does not hold yet."""

    def __init__(self, cfg, num_class, dataset):
        super().__init__(cfg, num_class, dataset)
        self.part = self.make_part()

    def make_part(self):
        model = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4))
        saved = torch.load("pretrained.pth")
        assert saved["0.weight"].shape[0] == model.state_dict()["0.weight"].shape[0]
        model.load_state_dict(saved)
        return model


DETECTORS = {
    kind.__name__: kind
    for kind in (
        Plain,
        Loose,
        InParts,
        Dynamic,
        Twisting,
        TwistingLabels,
        TwistingBoth,
        Geometric,
        Assigning,
        Pretrained,
        PretrainedPart,
        Choosy,
        Returning,
        Widening,
        Cameras,
        FirstGeneration,
        Refining,
        ReadingTable,
    )
}
