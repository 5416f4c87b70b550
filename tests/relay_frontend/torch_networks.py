"""Small networks written in plain torch, each true to the structure of the one it is named after.

They are as narrow and shallow as they can be while every operator of the original still occurs:
what they are for is whether readers agree, not what they compute.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 (the name that torch's users know)

Example = tuple[nn.Module, tuple[Tensor, ...]]


class Mlp(nn.Module):
    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.up = nn.Linear(width, hidden)
        self.activation = nn.GELU()
        self.down = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.down(self.activation(self.up(x)))


# --- ViT ----------------------------------------------------------------------------------------


class FusedAttention(nn.Module):
    """One projection to query, key and value, and torch's own attention."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        batch, length, width = x.shape
        qkv = self.qkv(x).reshape(batch, length, 3, self.heads, width // self.heads)
        query, key, value = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        mixed = F.scaled_dot_product_attention(query, key, value)
        return self.out(mixed.transpose(1, 2).reshape(batch, length, width))


class VitBlock(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=1e-6)
        self.attention = FusedAttention(width, heads)
        self.norm2 = nn.LayerNorm(width, eps=1e-6)
        self.mlp = Mlp(width, 4 * width)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class Vit(nn.Module):
    """Dosovitskiy et al., 2021: patches, a class token, positions, pre-norm encoder blocks."""

    def __init__(self, image: int = 32, patch: int = 8, width: int = 48, depth: int = 2) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, width, patch, patch)
        self.token = nn.Parameter(torch.zeros(1, 1, width))
        self.positions = nn.Parameter(torch.zeros(1, (image // patch) ** 2 + 1, width))
        self.blocks = nn.Sequential(*(VitBlock(width, 4) for _ in range(depth)))
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.head = nn.Linear(width, 10)

    def forward(self, image: Tensor) -> Tensor:
        x = self.patches(image).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(x.shape[0], -1, -1), x], dim=1) + self.positions
        return self.head(self.norm(self.blocks(x))[:, 0])


# --- BERT ---------------------------------------------------------------------------------------


class BertAttention(nn.Module):
    """Attention in parts: three projections, scores, an additive mask, softmax."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.out = nn.Linear(width, width)
        self.norm = nn.LayerNorm(width, eps=1e-12)

    def _split(self, x: Tensor) -> Tensor:
        batch, length, width = x.shape
        return x.view(batch, length, self.heads, width // self.heads).permute(0, 2, 1, 3)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        query, key, value = (self._split(p(x)) for p in (self.query, self.key, self.value))
        scores = torch.matmul(query, key.transpose(-1, -2)) / math.sqrt(query.shape[-1])
        mixed = torch.matmul(F.softmax(scores + mask, dim=-1), value)
        return self.norm(self.out(mixed.permute(0, 2, 1, 3).contiguous().view(x.shape)) + x)


class BertLayer(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.attention = BertAttention(width, heads)
        self.mlp = Mlp(width, 4 * width)
        self.norm = nn.LayerNorm(width, eps=1e-12)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        x = self.attention(x, mask)
        return self.norm(self.mlp(x) + x)


class Bert(nn.Module):
    """Devlin et al., 2019: three embeddings, post-norm encoder layers, a pooled first token."""

    def __init__(self, words: int = 100, width: int = 32, depth: int = 2) -> None:
        super().__init__()
        self.words = nn.Embedding(words, width)
        self.positions = nn.Embedding(64, width)
        self.segments = nn.Embedding(2, width)
        self.norm = nn.LayerNorm(width, eps=1e-12)
        self.dropout = nn.Dropout(0.1)
        self.layers = nn.ModuleList(BertLayer(width, 4) for _ in range(depth))
        self.pooler = nn.Linear(width, width)
        self.head = nn.Linear(width, 2)
        self.register_buffer("position_ids", torch.arange(64)[None], persistent=False)

    def forward(self, ids: Tensor, mask: Tensor, segments: Tensor) -> Tensor:
        positions = self.position_ids[:, : ids.shape[1]]
        x = self.words(ids) + self.segments(segments) + self.positions(positions)
        x = self.dropout(self.norm(x))
        additive = (1.0 - mask[:, None, None, :].to(x.dtype)) * -10000.0
        for layer in self.layers:
            x = layer(x, additive)
        return self.head(torch.tanh(self.pooler(x[:, 0])))


# --- ConvNeXt -----------------------------------------------------------------------------------


class ChannelNorm(nn.Module):
    """Layer norm over the channels of NCHW, written out as in the original."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        mean = x.mean(1, keepdim=True)
        variance = (x - mean).pow(2).mean(1, keepdim=True)
        x = (x - mean) / torch.sqrt(variance + 1e-6)
        return self.weight[:, None, None] * x + self.bias[:, None, None]


class ConvNextBlock(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(channels, channels, 7, padding=3, groups=channels)
        self.norm = nn.LayerNorm(channels, eps=1e-6)
        self.mlp = Mlp(channels, 4 * channels)
        self.scale = nn.Parameter(1e-6 * torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(self.depthwise(x).permute(0, 2, 3, 1))
        return x + (self.scale * self.mlp(y)).permute(0, 3, 1, 2)


class ConvNext(nn.Module):
    """Liu et al., 2022: a patch stem, 7x7 depthwise blocks in NHWC, normed downsampling."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 16, 4, 4), ChannelNorm(16))
        self.stage1 = ConvNextBlock(16)
        self.down = nn.Sequential(ChannelNorm(16), nn.Conv2d(16, 32, 2, 2))
        self.stage2 = ConvNextBlock(32)
        self.norm = nn.LayerNorm(32, eps=1e-6)
        self.head = nn.Linear(32, 10)

    def forward(self, image: Tensor) -> Tensor:
        x = self.stage2(self.down(self.stage1(self.stem(image))))
        return self.head(self.norm(x.mean([-2, -1])))


# --- LSTM ---------------------------------------------------------------------------------------


class LstmText(nn.Module):
    """A text classifier: embedding, two bidirectional layers, a pooled sequence."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(100, 24)
        self.lstm = nn.LSTM(24, 16, num_layers=2, bidirectional=True, batch_first=True)
        self.head = nn.Linear(32, 4)

    def forward(self, ids: Tensor) -> Tensor:
        states, _ = self.lstm(self.words(ids))
        return self.head(states.max(dim=1).values)


# --- U-Net --------------------------------------------------------------------------------------


def _double_conv(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
        nn.Conv2d(outputs, outputs, 3, padding=1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )


class UNet(nn.Module):
    """Ronneberger et al., 2015: one way up by transposed convolution, one by interpolation."""

    def __init__(self) -> None:
        super().__init__()
        self.pool = nn.MaxPool2d(2)
        self.enter = _double_conv(3, 8)
        self.down1 = _double_conv(8, 16)
        self.down2 = _double_conv(16, 32)
        self.up1 = nn.ConvTranspose2d(32, 16, 2, 2)
        self.join1 = _double_conv(32, 16)
        self.up2 = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False)
        self.join2 = _double_conv(24, 8)
        self.leave = nn.Conv2d(8, 2, 1)

    def forward(self, image: Tensor) -> Tensor:
        x1 = self.enter(image)
        x2 = self.down1(self.pool(x1))
        x3 = self.down2(self.pool(x2))
        x = self.join1(torch.cat([x2, self.up1(x3)], dim=1))
        return self.leave(self.join2(torch.cat([x1, self.up2(x)], dim=1)))


# --- Swin ---------------------------------------------------------------------------------------


class WindowAttention(nn.Module):
    """Attention within windows with a learned bias per relative position."""

    def __init__(self, width: int, window: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.scale = (width // heads) ** -0.5
        self.bias = nn.Parameter(torch.zeros((2 * window - 1) ** 2, heads))
        at = torch.stack(torch.meshgrid(torch.arange(window), torch.arange(window), indexing="ij"))
        flat = at.flatten(1)
        relative = (flat[:, :, None] - flat[:, None, :]).permute(1, 2, 0) + window - 1
        self.register_buffer("index", relative[..., 0] * (2 * window - 1) + relative[..., 1])
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        windows, length, width = x.shape
        qkv = self.qkv(x).reshape(windows, length, 3, self.heads, width // self.heads)
        query, key, value = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        scores = (query * self.scale) @ key.transpose(-2, -1)
        bias = self.bias[self.index.view(-1)].view(length, length, -1)
        scores = scores + bias.permute(2, 0, 1).contiguous().unsqueeze(0)
        if mask is not None:
            groups = mask.shape[0]
            scores = scores.view(windows // groups, groups, self.heads, length, length)
            scores = (scores + mask.unsqueeze(1).unsqueeze(0)).view(-1, self.heads, length, length)
        mixed = scores.softmax(dim=-1) @ value
        return self.out(mixed.transpose(1, 2).reshape(windows, length, width))


def _partition(x: Tensor, window: int) -> Tensor:
    batch, height, width, channels = x.shape
    x = x.view(batch, height // window, window, width // window, window, channels)
    return x.permute(0, 1, 3, 2, 4, 5).contiguous().view(-1, window, window, channels)


def _reverse(windows: Tensor, window: int, height: int, width: int) -> Tensor:
    batch = windows.shape[0] // (height * width // window**2)
    x = windows.view(batch, height // window, width // window, window, window, -1)
    return x.permute(0, 1, 3, 2, 4, 5).contiguous().view(batch, height, width, -1)


class SwinBlock(nn.Module):
    def __init__(self, width: int, side: int, window: int, shift: int) -> None:
        super().__init__()
        self.side, self.window, self.shift = side, window, shift
        self.norm1 = nn.LayerNorm(width)
        self.attention = WindowAttention(width, window, 2)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = Mlp(width, 4 * width)
        self.register_buffer("mask", self._mask() if shift else None)

    def _mask(self) -> Tensor:
        regions = torch.zeros(1, self.side, self.side, 1)
        cuts = (slice(0, -self.window), slice(-self.window, -self.shift), slice(-self.shift, None))
        for number, (rows, columns) in enumerate((r, c) for r in cuts for c in cuts):
            regions[:, rows, columns, :] = number
        windows = _partition(regions, self.window).view(-1, self.window**2)
        differs = windows.unsqueeze(1) != windows.unsqueeze(2)
        return torch.zeros(differs.shape).masked_fill(differs, -100.0)

    def forward(self, x: Tensor) -> Tensor:
        batch, length, width = x.shape
        y = self.norm1(x).view(batch, self.side, self.side, width)
        if self.shift:
            y = torch.roll(y, (-self.shift, -self.shift), (1, 2))
        windows = _partition(y, self.window).view(-1, self.window**2, width)
        windows = self.attention(windows, self.mask)
        y = _reverse(windows.view(-1, self.window, self.window, width), self.window, *self._sides())
        if self.shift:
            y = torch.roll(y, (self.shift, self.shift), (1, 2))
        x = x + y.view(batch, length, width)
        return x + self.mlp(self.norm2(x))

    def _sides(self) -> tuple[int, int]:
        return self.side, self.side


class PatchMerging(nn.Module):
    def __init__(self, width: int, side: int) -> None:
        super().__init__()
        self.side = side
        self.norm = nn.LayerNorm(4 * width)
        self.reduction = nn.Linear(4 * width, 2 * width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        batch, _, width = x.shape
        x = x.view(batch, self.side, self.side, width)
        parts = [x[:, i::2, j::2, :] for j in (0, 1) for i in (0, 1)]
        return self.reduction(self.norm(torch.cat(parts, -1).view(batch, -1, 4 * width)))


class Swin(nn.Module):
    """Liu et al., 2021: windows, shifted windows, patch merging."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 16, 4, 4)
        self.norm = nn.LayerNorm(16)
        self.block1 = SwinBlock(16, 8, 4, 0)
        self.block2 = SwinBlock(16, 8, 4, 2)
        self.merge = PatchMerging(16, 8)
        self.block3 = SwinBlock(32, 4, 4, 0)
        self.last = nn.LayerNorm(32)
        self.pool = nn.AdaptiveAvgPool1d(1)
        self.head = nn.Linear(32, 10)

    def forward(self, image: Tensor) -> Tensor:
        x = self.norm(self.patches(image).flatten(2).transpose(1, 2))
        x = self.last(self.block3(self.merge(self.block2(self.block1(x)))))
        return self.head(torch.flatten(self.pool(x.transpose(1, 2)), 1))


# --- MobileNetV3 and EfficientNet ---------------------------------------------------------------


class SqueezeExcite(nn.Module):
    def __init__(self, channels: int, inner: int, activation: nn.Module, gate: nn.Module) -> None:
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.down = nn.Conv2d(channels, inner, 1)
        self.activation = activation
        self.up = nn.Conv2d(inner, channels, 1)
        self.gate = gate

    def forward(self, x: Tensor) -> Tensor:
        return self.gate(self.up(self.activation(self.down(self.pool(x))))) * x


def _conv(
    inputs: int,
    outputs: int,
    kernel: int = 1,
    stride: int = 1,
    groups: int = 1,
    activation: Callable[[], nn.Module] = nn.Identity,
) -> nn.Sequential:
    conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs), activation())


class InvertedResidual(nn.Module):
    def __init__(
        self,
        channels: tuple[int, int, int],
        kernel: int,
        stride: int,
        activation: Callable[[], nn.Module],
        excite: nn.Module,
    ) -> None:
        super().__init__()
        inputs, inner, outputs = channels
        self.residual = inputs == outputs and stride == 1
        self.body = nn.Sequential(
            _conv(inputs, inner, activation=activation),
            _conv(inner, inner, kernel, stride, inner, activation),
            excite,
            _conv(inner, outputs),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x) if self.residual else self.body(x)


class MobileNetV3(nn.Module):
    """Howard et al., 2019: hard swish, squeeze and excite with a hard sigmoid."""

    def __init__(self) -> None:
        super().__init__()
        excite = [SqueezeExcite(n, 8, nn.ReLU(), nn.Hardsigmoid()) for n in (16, 48)]
        self.features = nn.Sequential(
            _conv(3, 16, 3, 2, activation=nn.Hardswish),
            InvertedResidual((16, 16, 16), 3, 1, nn.ReLU, excite[0]),
            InvertedResidual((16, 48, 24), 5, 2, nn.Hardswish, excite[1]),
            InvertedResidual((24, 48, 24), 5, 1, nn.Hardswish, nn.Identity()),
            _conv(24, 64, activation=nn.Hardswish),
        )
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.head = nn.Sequential(
            nn.Linear(64, 32), nn.Hardswish(), nn.Dropout(0.2), nn.Linear(32, 10)
        )

    def forward(self, image: Tensor) -> Tensor:
        return self.head(torch.flatten(self.pool(self.features(image)), 1))


class EfficientNet(nn.Module):
    """Tan and Le, 2019: SiLU, squeeze and excite with a sigmoid."""

    def __init__(self) -> None:
        super().__init__()
        excite = [SqueezeExcite(n, 4, nn.SiLU(), nn.Sigmoid()) for n in (16, 64, 64)]
        self.features = nn.Sequential(
            _conv(3, 16, 3, 2, activation=nn.SiLU),
            InvertedResidual((16, 16, 16), 3, 1, nn.SiLU, excite[0]),
            InvertedResidual((16, 64, 24), 3, 2, nn.SiLU, excite[1]),
            InvertedResidual((24, 64, 24), 5, 1, nn.SiLU, excite[2]),
            _conv(24, 64, activation=nn.SiLU),
        )
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.head = nn.Sequential(nn.Dropout(0.2), nn.Linear(64, 10))

    def forward(self, image: Tensor) -> Tensor:
        return self.head(torch.flatten(self.pool(self.features(image)), 1))


# --- GPT ----------------------------------------------------------------------------------------


class CausalAttention(nn.Module):
    """Attention in parts with a triangle of minus infinity."""

    def __init__(self, width: int, heads: int, length: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.register_buffer("triangle", torch.ones(length, length).tril()[None, None] == 0)

    def forward(self, x: Tensor) -> Tensor:
        batch, length, width = x.shape
        query, key, value = (
            part.view(batch, length, self.heads, width // self.heads).transpose(1, 2)
            for part in self.qkv(x).split(width, dim=2)
        )
        scores = (query @ key.transpose(-2, -1)) * (1.0 / math.sqrt(key.shape[-1]))
        scores = scores.masked_fill(self.triangle[:, :, :length, :length], float("-inf"))
        mixed = F.softmax(scores, dim=-1) @ value
        return self.out(mixed.transpose(1, 2).contiguous().view(batch, length, width))


class GptMlp(nn.Module):
    """The feed-forward part with the tanh form of GELU, written out as in GPT-2."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.up = nn.Linear(width, 4 * width)
        self.down = nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        x = self.up(x)
        inner = math.sqrt(2.0 / math.pi) * (x + 0.044715 * torch.pow(x, 3.0))
        return self.down(0.5 * x * (1.0 + torch.tanh(inner)))


class GptBlock(nn.Module):
    def __init__(self, width: int, heads: int, length: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attention = CausalAttention(width, heads, length)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = GptMlp(width)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class Gpt(nn.Module):
    """Radford et al., 2019: a decoder whose head returns to the words."""

    def __init__(self, words: int = 100, width: int = 32, length: int = 32) -> None:
        super().__init__()
        self.words = nn.Embedding(words, width)
        self.positions = nn.Embedding(length, width)
        self.blocks = nn.Sequential(*(GptBlock(width, 4, length) for _ in range(2)))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, words, bias=False)

    def forward(self, ids: Tensor) -> Tensor:
        at = torch.arange(ids.shape[1], device=ids.device)
        x = self.words(ids) + self.positions(at)
        return self.head(self.norm(self.blocks(x)))


_IMAGE = (1, 3, 32, 32)
_TEXT = (2, 16)

_EXAMPLES: dict[str, Callable[[], tuple[Tensor, ...]]] = {
    "ids": lambda: (torch.zeros(_TEXT, dtype=torch.int64),),
    "image": lambda: (torch.zeros(_IMAGE),),
    "masked ids": lambda: (
        torch.zeros(_TEXT, dtype=torch.int64),
        torch.ones(_TEXT, dtype=torch.int64),
        torch.zeros(_TEXT, dtype=torch.int64),
    ),
}

_NETWORKS: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "vit": (Vit, "image"),
    "bert": (Bert, "masked ids"),
    "convnext": (ConvNext, "image"),
    "lstm_text": (LstmText, "ids"),
    "unet": (UNet, "image"),
    "swin": (Swin, "image"),
    "mobilenet_v3": (MobileNetV3, "image"),
    "efficientnet": (EfficientNet, "image"),
    "gpt": (Gpt, "ids"),
}


def build(name: str) -> Example:
    """The network called ``name``, ready for inference, and inputs for it."""
    torch.manual_seed(0)
    make, example = _NETWORKS[name]
    return make().eval(), _EXAMPLES[example]()
