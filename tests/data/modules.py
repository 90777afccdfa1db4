"""General modules whose training steps were measured, each made of torch alone.

`MODULES` maps a row's name to what makes its model, its inputs and its loss. The script that
measures them and the tests that predict them share these definitions.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Case(NamedTuple):
    """One row: the model, what it is called with, and the loss of what it returns."""

    model: nn.Module
    inputs: tuple[Tensor, ...]
    loss: Callable[[Any], Tensor]


# -- building blocks -------------------------------------------------------------------------------


class Attention(nn.Module):
    """Self-attention over a sequence [B, N, C], queries, keys and values from one product."""

    def __init__(self, width: int, heads: int, dropout: float = 0.0, causal: bool = False) -> None:
        super().__init__()
        self.heads, self.dropout, self.causal = heads, dropout, causal
        self.qkv = nn.Linear(width, 3 * width)
        self.project = nn.Linear(width, width)

    def forward(self, data: Tensor) -> Tensor:
        batch, length, width = data.shape
        qkv = self.qkv(data).reshape(batch, length, 3, self.heads, width // self.heads)
        query, key, value = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        out = F.scaled_dot_product_attention(
            query, key, value, dropout_p=self.dropout, is_causal=self.causal
        )
        return self.project(out.transpose(1, 2).reshape(batch, length, width))


class TransformerBlock(nn.Module):
    """Norm, attention, norm, two-layer perceptron."""

    def __init__(self, width: int, heads: int, activation: nn.Module) -> None:
        super().__init__()
        self.norm1, self.attention = nn.LayerNorm(width), Attention(width, heads)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = nn.Sequential(
            nn.Linear(width, 4 * width), activation, nn.Linear(4 * width, width)
        )

    def forward(self, data: Tensor) -> Tensor:
        data = data + self.attention(self.norm1(data))
        return data + self.mlp(self.norm2(data))


# -- resnet50 --------------------------------------------------------------------------------------


class Bottleneck(nn.Module):
    """1x1, 3x3, 1x1 with a shortcut."""

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        outputs = 4 * width
        self.conv1, self.bn1 = nn.Conv2d(inputs, width, 1, bias=False), nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3, self.bn3 = nn.Conv2d(width, outputs, 1, bias=False), nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU(inplace=True)
        self.shortcut: nn.Module | None = None
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, data: Tensor) -> Tensor:
        kept = data
        data = self.relu(self.bn1(self.conv1(data)))
        data = self.relu(self.bn2(self.conv2(data)))
        data = self.bn3(self.conv3(data))
        if self.shortcut is not None:
            kept = self.shortcut(kept)
        data += kept
        return self.relu(data)


def resnet50() -> nn.Module:
    layers: list[nn.Module] = [
        nn.Conv2d(3, 64, 7, 2, 3, bias=False),
        nn.BatchNorm2d(64),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(3, 2, 1),
    ]
    inputs = 64
    for width, count, stride in ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2)):
        for block in range(count):
            layers.append(Bottleneck(inputs, width, stride if block == 0 else 1))
            inputs = 4 * width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(1), nn.Linear(inputs, 1000))


# -- convnext_tiny ---------------------------------------------------------------------------------


class LayerNorm2d(nn.LayerNorm):
    """Over the channels of [B, C, H, W]."""

    def forward(self, data: Tensor) -> Tensor:
        data = data.permute(0, 2, 3, 1)
        data = F.layer_norm(data, self.normalized_shape, self.weight, self.bias, self.eps)
        return data.permute(0, 3, 1, 2)


class ConvNextBlock(nn.Module):
    """Depthwise 7x7, norm and perceptron over the channels, a learned scale, a shortcut."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(width, width, 7, padding=3, groups=width)
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.mlp = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )
        self.scale = nn.Parameter(1e-6 * torch.ones(width))

    def forward(self, data: Tensor) -> Tensor:
        kept = data
        data = self.depthwise(data).permute(0, 2, 3, 1)
        data = self.mlp(self.norm(data)).permute(0, 3, 1, 2)
        data = data.mul(self.scale.reshape(1, -1, 1, 1))
        return data + kept


def convnext_tiny() -> nn.Module:
    layers: list[nn.Module] = [nn.Conv2d(3, 96, 4, 4), LayerNorm2d(96, eps=1e-6)]
    for stage, (width, count) in enumerate(((96, 3), (192, 3), (384, 9), (768, 3))):
        if stage:
            layers += [LayerNorm2d(width // 2, eps=1e-6), nn.Conv2d(width // 2, width, 2, 2)]
        layers += [ConvNextBlock(width) for _ in range(count)]
    return nn.Sequential(
        *layers,
        nn.AdaptiveAvgPool2d(1),
        LayerNorm2d(768, eps=1e-6),
        nn.Flatten(1),
        nn.Linear(768, 1000),
    )


# -- gpt2 ------------------------------------------------------------------------------------------


class TransposedLinear(nn.Module):
    """A linear layer whose weight is [in, out]: one product with its bias."""

    def __init__(self, outputs: int, inputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(0.02 * torch.randn(inputs, outputs))
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, data: Tensor) -> Tensor:
        shape = (*data.shape[:-1], self.bias.numel())
        return torch.addmm(self.bias, data.view(-1, data.shape[-1]), self.weight).view(shape)


class TanhGelu(nn.Module):
    """The approximation of GELU, written out."""

    def forward(self, data: Tensor) -> Tensor:
        inner = 0.7978845608 * (data + 0.044715 * torch.pow(data, 3.0))
        return 0.5 * data * (1.0 + torch.tanh(inner))


class GptBlock(nn.Module):
    """Causal attention and a perceptron, each behind a norm and before a dropout."""

    def __init__(self, width: int = 768, heads: int = 12, dropout: float = 0.1) -> None:
        super().__init__()
        self.heads, self.width, self.dropout = heads, width, dropout
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv = TransposedLinear(3 * width, width)
        self.project = TransposedLinear(width, width)
        self.up = TransposedLinear(4 * width, width)
        self.down = TransposedLinear(width, 4 * width)
        self.activation = TanhGelu()
        self.drop1, self.drop2 = nn.Dropout(dropout), nn.Dropout(dropout)

    def attend(self, data: Tensor) -> Tensor:
        heads = (*data.shape[:2], self.heads, self.width // self.heads)
        query, key, value = (
            part.view(heads).transpose(1, 2) for part in self.qkv(data).split(self.width, dim=2)
        )
        # The cache that transformers fills in training too: keys and values joined to nothing.
        nothing = data.new_zeros(0)
        key, value = torch.cat([nothing, key], dim=-2), torch.cat([nothing, value], dim=-2)
        out = F.scaled_dot_product_attention(
            query, key, value, dropout_p=self.dropout, is_causal=True
        )
        out = out.transpose(1, 2).contiguous().reshape(data.shape)
        return self.drop1(self.project(out))

    def forward(self, data: Tensor) -> Tensor:
        data = self.attend(self.norm1(data)) + data
        return data + self.drop2(self.down(self.activation(self.up(self.norm2(data)))))


class Gpt2(nn.Module):
    """Twelve blocks over 1024 places and 50257 tokens; the head shares the embedding's weight."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens, self.places = nn.Embedding(50257, 768), nn.Embedding(1024, 768)
        self.dropout = nn.Dropout(0.1)
        self.blocks = nn.ModuleList(GptBlock() for _ in range(12))
        self.norm = nn.LayerNorm(768)
        self.head = nn.Linear(768, 50257, bias=False)
        self.head.weight = self.tokens.weight

    def forward(self, ids: Tensor) -> dict[str, Tensor]:
        places = torch.arange(ids.shape[1], device=ids.device).unsqueeze(0)
        data = self.dropout(self.tokens(ids) + self.places(places))
        for block in self.blocks:
            data = block(data)
        logits = self.head(self.norm(data))
        labels = F.pad(ids, (0, 1), value=-100)[..., 1:].contiguous()
        scores = logits.float().view(-1, logits.shape[-1])
        return {"loss": F.cross_entropy(scores, labels.view(-1)), "logits": logits}


# -- the rest --------------------------------------------------------------------------------------


class SelfAttended(nn.Module):
    """A linear layer whose output attends to itself."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(64, 64)

    def forward(self, data: Tensor) -> Tensor:
        out = self.linear(data)
        return F.scaled_dot_product_attention(out, out, out)


class BevBackbone(nn.Module):
    """OpenPCDet's BaseBEVBackbone as second has it: two levels, both upsampled and joined."""

    def __init__(self) -> None:
        super().__init__()

        def level(inputs: int, outputs: int, stride: int) -> nn.Module:
            layers: list[nn.Module] = [nn.ZeroPad2d(1)]
            layers += self._normed(nn.Conv2d(inputs, outputs, 3, stride, bias=False), outputs)
            for _ in range(5):
                layers += self._normed(
                    nn.Conv2d(outputs, outputs, 3, padding=1, bias=False), outputs
                )
            return nn.Sequential(*layers)

        def up(inputs: int, stride: int) -> nn.Module:
            layer = nn.ConvTranspose2d(inputs, 256, stride, stride, bias=False)
            return nn.Sequential(*self._normed(layer, 256))

        self.blocks = nn.ModuleList([level(256, 128, 1), level(128, 256, 2)])
        self.deblocks = nn.ModuleList([up(128, 1), up(256, 2)])

    @staticmethod
    def _normed(layer: nn.Module, channels: int) -> list[nn.Module]:
        return [layer, nn.BatchNorm2d(channels, eps=1e-3, momentum=0.01), nn.ReLU()]

    def forward(self, data: Tensor) -> Tensor:
        ups = []
        for block, deblock in zip(self.blocks, self.deblocks, strict=True):
            data = block(data)
            ups.append(deblock(data))
        return torch.cat(ups, dim=1)


def conv_pair() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 64, 3, padding=1), nn.ReLU(), nn.Conv2d(64, 64, 3, padding=1))


class UNet(nn.Module):
    """Two levels with GroupNorm, transposed convolutions up, skip connections by cat."""

    def __init__(self, width: int = 64) -> None:
        super().__init__()

        def double(inputs: int, outputs: int) -> nn.Module:
            return nn.Sequential(
                nn.Conv2d(inputs, outputs, 3, padding=1),
                nn.GroupNorm(8, outputs),
                nn.SiLU(),
                nn.Conv2d(outputs, outputs, 3, padding=1),
                nn.GroupNorm(8, outputs),
                nn.SiLU(),
            )

        self.enter, self.down = double(3, width), double(width, 2 * width)
        self.middle = double(2 * width, 4 * width)
        self.pool = nn.MaxPool2d(2)
        self.up2 = nn.ConvTranspose2d(4 * width, 2 * width, 2, 2)
        self.merge2 = double(4 * width, 2 * width)
        self.up1 = nn.ConvTranspose2d(2 * width, width, 2, 2)
        self.merge1 = double(2 * width, width)
        self.head = nn.Conv2d(width, 5, 1)

    def forward(self, data: Tensor) -> Tensor:
        first = self.enter(data)
        second = self.down(self.pool(first))
        data = self.up2(self.middle(self.pool(second)))
        data = self.merge2(torch.cat([second, data], dim=1))
        data = self.merge1(torch.cat([first, self.up1(data)], dim=1))
        return self.head(data)


class VisionTransformer(nn.Module):
    """ViT-B/16: patches by convolution, a class token, learned places, blocks, a head."""

    def __init__(self, blocks: nn.Module, width: int = 768) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, width, 16, 16)
        self.token = nn.Parameter(torch.zeros(1, 1, width))
        self.places = nn.Parameter(torch.zeros(1, 197, width))
        self.blocks = blocks
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, 1000)

    def forward(self, images: Tensor) -> Tensor:
        data = self.patches(images).flatten(2).transpose(1, 2)
        data = torch.cat([self.token.expand(len(images), -1, -1), data], dim=1) + self.places
        return self.head(self.norm(self.blocks(data))[:, 0])


def vit_sdpa() -> nn.Module:
    blocks = nn.Sequential(*(TransformerBlock(768, 12, nn.GELU()) for _ in range(12)))
    return VisionTransformer(blocks)


def vit_encoder() -> nn.Module:
    layer = nn.TransformerEncoderLayer(
        768, 12, 3072, 0.1, "gelu", batch_first=True, norm_first=True
    )
    return VisionTransformer(nn.TransformerEncoder(layer, 12, enable_nested_tensor=False))


class WindowAttention(nn.Module):
    """Swin's block: shifted 7x7 windows, a learned bias by relative place, a mask of the shift."""

    def __init__(self, width: int, heads: int, size: int, shift: int) -> None:
        super().__init__()
        self.heads, self.size, self.shift = heads, size, shift
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.project = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.bias = nn.Parameter(torch.zeros(169, heads))
        self.mlp = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )
        place = torch.stack(
            torch.meshgrid(torch.arange(7), torch.arange(7), indexing="ij")
        ).flatten(1)
        offset = place[:, :, None] - place[:, None, :] + 6
        self.register_buffer("index", offset[0] * 13 + offset[1])
        windows = (size // 7) ** 2
        self.register_buffer("mask", torch.zeros(windows, 49, 49) if shift else None)

    def attend(self, data: Tensor) -> Tensor:
        batch, size, _, width = data.shape
        data = torch.roll(data, (-self.shift, -self.shift), (1, 2)) if self.shift else data
        rows = size // 7
        windows = data.view(batch, rows, 7, rows, 7, width).transpose(2, 3).reshape(-1, 49, width)
        qkv = self.qkv(windows).reshape(-1, 49, 3, self.heads, width // self.heads)
        query, key, value = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        bias = self.bias[self.index.view(-1)].view(49, 49, -1).permute(2, 0, 1).contiguous()
        bias = bias.unsqueeze(0)
        if self.mask is not None:
            bias = bias + self.mask.unsqueeze(1)
            bias = bias.repeat(batch, 1, 1, 1)
        out = F.scaled_dot_product_attention(query, key, value, attn_mask=bias)
        out = self.project(out.transpose(1, 2).reshape(-1, 49, width))
        out = out.view(batch, rows, rows, 7, 7, width).transpose(2, 3).reshape(data.shape)
        return torch.roll(out, (self.shift, self.shift), (1, 2)) if self.shift else out

    def forward(self, data: Tensor) -> Tensor:
        data = data + self.attend(self.norm1(data))
        return data + self.mlp(self.norm2(data))


def swin_stage() -> nn.Module:
    blocks = [WindowAttention(96, 3, 56, shift) for shift in (0, 3, 0, 3)]
    return nn.Sequential(*blocks, nn.Linear(96, 32))


class CrossAttended(nn.Module):
    """nn.MultiheadAttention without weights, over another sequence, some keys masked out."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(256, 8, batch_first=True)
        self.norm = nn.LayerNorm(256)

    def forward(self, query: Tensor, memory: Tensor) -> Tensor:
        masked = torch.zeros(memory.shape[:2], dtype=torch.bool, device=memory.device)
        out, _ = self.attention(query, memory, memory, key_padding_mask=masked, need_weights=False)
        return self.norm(query + out)


class Recurrent(nn.Module):
    """Two layers of an LSTM or a GRU over features [B, T, C]."""

    def __init__(self, kind: type[nn.RNNBase], dropout: float) -> None:
        super().__init__()
        self.rnn = kind(128, 256, num_layers=2, batch_first=True, dropout=dropout)
        self.head = nn.Linear(256, 32)

    def forward(self, data: Tensor) -> Tensor:
        return self.head(self.rnn(data)[0])


class Segmenter(nn.Module):
    """Strided convolutions, upsampled bilinearly to the input's size."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3, 64, 3, 2, 1, bias=False),
            nn.BatchNorm2d(64),
            nn.ReLU(inplace=True),
            nn.Conv2d(64, 128, 3, 2, 1, bias=False),
            nn.BatchNorm2d(128),
            nn.ReLU(inplace=True),
            nn.AvgPool2d(2),
            nn.Conv2d(128, 21, 1),
        )

    def forward(self, data: Tensor) -> Tensor:
        scores = self.layers(data)
        return F.interpolate(scores, size=data.shape[2:], mode="bilinear", align_corners=False)


def residual_block() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 64, 7, 2, 3, bias=False),
        nn.BatchNorm2d(64),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(3, 2, 1),
        Bottleneck(64, 64, 1),
        Bottleneck(256, 128, 2),
    )


def _mean(output: Tensor) -> Tensor:
    return output.mean()


def _classified(batch: int, classes: int = 1000) -> Callable[[Tensor], Tensor]:
    def loss(output: Tensor) -> Tensor:
        target = torch.zeros(batch, dtype=torch.int64, device=output.device)
        return F.cross_entropy(output, target)

    return loss


def _labelled(output: Tensor) -> Tensor:
    target = torch.zeros(
        output.shape[0], *output.shape[2:], dtype=torch.int64, device=output.device
    )
    return F.cross_entropy(output, target)


def _images(batch: int, size: int = 224) -> tuple[Tensor]:
    return (torch.zeros(batch, 3, size, size),)


def _channels_last(case: Case) -> Case:
    layout: Any = {"memory_format": torch.channels_last}
    return Case(case.model.to(**layout), tuple(t.to(**layout) for t in case.inputs), case.loss)


def _conv_pair() -> Case:
    return Case(conv_pair(), _images(8, 256), _mean)


def _own_loss(output: dict[str, Tensor]) -> Tensor:
    return output["loss"]


MODULES: dict[str, Callable[[], Case]] = {
    "resnet50": lambda: Case(resnet50(), _images(32), _classified(32)),
    "convnext_tiny": lambda: Case(convnext_tiny(), _images(32), _classified(32)),
    "gpt2": lambda: Case(Gpt2(), (torch.zeros(8, 512, dtype=torch.int64),), _own_loss),
    "bev_second": lambda: Case(BevBackbone(), (torch.zeros(4, 256, 200, 176),), _mean),
    "linear": lambda: Case(nn.Linear(64, 50000, bias=False), (torch.zeros(4096, 64),), _mean),
    "sdpa_fp32": lambda: Case(SelfAttended(), (torch.zeros(1, 16, 4096, 64),), _mean),
    "conv_nchw": _conv_pair,
    "conv_nhwc": lambda: _channels_last(_conv_pair()),
    "vit_sdpa": lambda: Case(vit_sdpa(), _images(16), _classified(16)),
    "vit_encoder": lambda: Case(vit_encoder(), _images(16), _classified(16)),
    "unet": lambda: Case(UNet(), _images(4, 256), _labelled),
    "unet_nhwc": lambda: _channels_last(Case(UNet(), _images(4, 256), _labelled)),
    "swin_stage": lambda: Case(swin_stage(), (torch.zeros(8, 56, 56, 96),), _mean),
    "cross_attention": lambda: Case(
        CrossAttended(), (torch.zeros(4, 900, 256), torch.zeros(4, 2300, 256)), _mean
    ),
    "lstm": lambda: Case(Recurrent(nn.LSTM, 0.1), (torch.zeros(64, 200, 128),), _mean),
    "gru": lambda: Case(Recurrent(nn.GRU, 0.0), (torch.zeros(64, 200, 128),), _mean),
    "segmenter": lambda: Case(Segmenter(), _images(8, 512), _labelled),
    "residual_nhwc": lambda: _channels_last(Case(residual_block(), _images(16), _mean)),
}
