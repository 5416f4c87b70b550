"""ViT (Dosovitskiy et al., "An Image is Worth 16x16 Words", 2021)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from random import Random

from measure.zoo import transformer
from measure.zoo.builder import NetworkBuilder, Value, write_network
from measure.zoo.sampling import draw_batch, draw_num_classes


@dataclass(frozen=True, kw_only=True)
class ViTConfig:
    """One vision transformer; the defaults are ViT-B/16.

    Args:
        patch: height and width of a patch.
        width: features of a position, a multiple of ``heads``.
        depth: encoder blocks.
        heads: of each attention.
        expansion: features inside a block's dense layers, as a multiple of ``width``.
        joined: whether one dense layer makes queries, keys and values.
        input_size: height and width of the image.
        batch: images per inference.
        num_classes: size of the output.
    """

    patch: int = 16
    width: int = 768
    depth: int = 12
    heads: int = 12
    expansion: int = 4
    joined: bool = True
    input_size: int = 224
    batch: int = 1
    num_classes: int = 1000


def sample_config(rng: Random) -> ViTConfig:
    """Draw a ViT; its cost is not bounded."""
    heads = rng.choice((2, 3, 4, 6, 8, 12))
    patch = rng.choice((4, 8, 16, 32))
    return ViTConfig(
        patch=patch,
        width=heads * rng.choice((16, 32, 48, 64)),
        depth=rng.randint(2, 8),
        heads=heads,
        expansion=rng.choice((2, 3, 4, 4)),
        joined=rng.random() < 0.7,
        input_size=patch * rng.choice((4, 6, 7, 8, 10, 12, 14)),
        batch=draw_batch(rng),
        num_classes=draw_num_classes(rng),
    )


def layers(config: ViTConfig) -> tuple[NetworkBuilder, Value]:
    """The layers of ``config`` and the logits."""
    net = NetworkBuilder.for_images(batch=config.batch, input_size=config.input_size)
    x = _embed(net, config)
    for _ in range(config.depth):
        y = transformer.layer_norm(net, x)
        x = net.add(x, transformer.attention(net, y, config.heads, joined=config.joined))
        x = net.add(x, transformer.mlp(net, transformer.layer_norm(net, x), config.expansion))
    x = transformer.first_position(net, transformer.layer_norm(net, x))
    return net, net.gemm(x, config.num_classes)


build = partial(write_network, layers, name="vit")


def _embed(net: NetworkBuilder, config: ViTConfig) -> Value:
    """Class token and patches with their learned positions, ``[batch, positions, width]``."""
    image = transformer.patches(net, net.input, config.width, config.patch)
    batch, width, rows, columns = image.shape
    x = transformer.reshape(net, image, (batch, width, rows * columns))
    x = transformer.transpose(net, x, (0, 2, 1))
    shape = (batch, 1, width)
    token = net.apply("Expand", [net.parameter((1, 1, width)), net.constant(shape, "int64")], shape)
    shape = (batch, 1 + rows * columns, width)
    x = net.apply("Concat", [token, x], shape, axis=1)
    return net.apply("Add", [x, net.parameter((1, *shape[1:]))], shape)
