"""PyTorch modules and exported programs -> operator graphs, through Relax."""

from relay_frontend.torch.reader import read_torch

__all__ = ["read_torch"]
