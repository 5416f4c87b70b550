"""Reading other people's files: pickles without running them, and errors that say what is wrong."""

from __future__ import annotations

import bz2
import pickle
from pathlib import Path
from typing import Any

import numpy as np

from relay_frontend.errors import InputError

_MULTIARRAY = f"numpy.{'_core' if np.lib.NumpyVersion(np.__version__) >= '2.0.0' else 'core'}"
# What plain containers and arrays are made of, and nothing that could do anything else.
_HARMLESS = {
    ("_codecs", "encode"),
    ("builtins", "complex"),
    ("builtins", "frozenset"),
    ("builtins", "set"),
    ("collections", "OrderedDict"),
    ("numpy", "dtype"),
    ("numpy", "ndarray"),
    (f"{_MULTIARRAY}.multiarray", "_reconstruct"),
    (f"{_MULTIARRAY}.multiarray", "scalar"),
}


class _HarmlessUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if module.startswith(("numpy.core.", "numpy._core.")):
            module = f"{_MULTIARRAY}.{module.rpartition('.')[2]}"
        if (module, name) not in _HARMLESS:
            raise pickle.UnpicklingError(f"it would run {module}.{name}")
        return super().find_class(module, name)


def read_pickle(path: Path, *, trust: bool = False) -> Any:
    """What a pickle compressed by bzip2 (``.pbz2``) holds.

    Args:
        path: of the file.
        trust: whether it may run any code; otherwise it may hold containers, numbers, texts and
            arrays only.

    Raises:
        InputError: there is no such file, it is damaged, or it holds more than it may.
    """
    try:
        with bz2.BZ2File(path) as file:
            return pickle.load(file) if trust else _HarmlessUnpickler(file).load()  # noqa: S301
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from None
    except pickle.UnpicklingError as error:
        raise _untrusted(path, error) from None
    except (EOFError, ValueError, TypeError, AttributeError, IndexError, KeyError) as error:
        raise InputError(f"{path}: not a pickle, or damaged ({error})") from None


def read_torch(path: Path, *, trust: bool = False) -> Any:
    """What ``torch.save`` wrote; see :func:`read_pickle` for the arguments and errors."""
    import torch  # noqa: PLC0415 (heavy)

    try:
        return torch.load(path, map_location="cpu", weights_only=not trust)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from None
    except pickle.UnpicklingError as error:
        raise _untrusted(path, error) from None
    except (EOFError, RuntimeError, ValueError, TypeError, AttributeError, KeyError) as error:
        raise InputError(f"{path}: not a file of torch, or damaged ({error})") from None


def _untrusted(path: Path, error: pickle.UnpicklingError) -> InputError:
    return InputError(
        f"{path}: not a pickle of plain values, so that reading it could run code ({error}). If "
        "you trust where it comes from, say so: trust=true"
    )
