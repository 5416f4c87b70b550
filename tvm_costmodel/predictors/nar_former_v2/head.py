"""The predicting head of NAR-Former V2, equation 12.

Shape suffixes: R rows (graphs or nodes), D width.
"""

# ruff: noqa: N803, N806 (shape suffixes)
from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from tvm_costmodel.predictors.nar_former_v2.config import NarFormerV2Config


def in_full(x: Tensor) -> Tensor:
    """``x`` in at least float32, where autocasting has made it shorter."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def negative_logsigmoid(z_R: Tensor) -> Tensor:
    """Positive, linear far to the left: the softplus of -z."""
    return -functional.logsigmoid(z_R)


OUTPUTS: dict[str, Callable[[Tensor], Tensor]] = {
    "softplus": negative_logsigmoid,
    "exp": torch.exp,
}


class Head(nn.Module):
    """-logsigmoid(FC(ReLU(FC(ReLU(FC(h)))))): positive numbers, ``[R, inputs]`` to ``[R]``."""

    def __init__(self, inputs: int, config: NarFormerV2Config) -> None:
        super().__init__()
        width = config.width
        self.fc1 = nn.Linear(inputs, width)
        self.fc2 = nn.Linear(width, width)
        self.fc3 = nn.Linear(width, 1)
        self.platform = PlatformEmbedding(config)
        self.output = OUTPUTS[config.output]

    def forward(self, h: Tensor, domain_R: Tensor) -> Tensor:
        """The answer for each row, ``[R]``."""
        z_RD = functional.relu(self.platform(self.fc1(h), domain_R))
        return self.output(in_full(self.fc3(functional.relu(self.fc2(z_RD))).squeeze(-1)))


class PlatformEmbedding(nn.Module):
    """Adds to each row what is learned of its platform; nothing where there is one platform."""

    def __init__(self, config: NarFormerV2Config) -> None:
        super().__init__()
        several = config.num_domains > 1
        self.embedding = nn.Embedding(config.num_domains, config.width) if several else None
        if self.embedding is not None:
            nn.init.normal_(self.embedding.weight, std=0.02)

    def forward(self, h_RD: Tensor, domain_R: Tensor) -> Tensor:
        """``h_RD`` of each row's platform."""
        if self.embedding is None:
            return h_RD
        embedded: Tensor = self.embedding(domain_R)
        return h_RD + embedded
