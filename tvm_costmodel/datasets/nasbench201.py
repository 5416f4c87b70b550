"""NAS-Bench-201 (Dong and Yang, ICLR 2020): the accuracies of its 15,625 cells.

Three forms of the same data are read:

- ``NAS-Bench-201-v1_1-096897.pth``, of the benchmark's first API, written by torch: a mapping with
  ``meta_archs`` (a text for each cell) and ``arch2infos``, which has for each index the results
  after 12 (``less``) and 200 epochs (``full``).
- ``NATS-tss-v1_0-3ffb9.pickle.pbz2`` of NATS-Bench, a pickle of the same with the keys ``12`` and
  ``200``; or the folder ``NATS-tss-v1_0-3ffb9-simple``, where ``meta.pickle.pbz2`` has the texts
  and ``000000.pickle.pbz2`` and so on the results of one cell each.
- the JSON that the public code of NAR-Former V2 makes of it: for each index
  ``validation_accuracy_avg``, ``test_accuracy_avg`` and ``module_operations``.

Results of one training of a cell are kept by image set and seed, ``all_results[image set, seed]``,
with ``eval_acc1es["x-valid@199"]`` the accuracy in % after the 200th epoch. Accuracies here are
means over the seeds. For CIFAR-10 the validation accuracy is that of the training on half of the
training images (``cifar10-valid``), the test accuracy that of the training on all of them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from relay_frontend.cells import Cell
from relay_frontend.errors import InputError
from tvm_costmodel.datasets.dataset import Dataset, Loading, silent
from tvm_costmodel.datasets.files import read_pickle, read_torch
from tvm_costmodel.datasets.nasbench201_cells import (
    Operations,
    accuracy_dataset,
    check_image_set,
    parse_architecture,
)

# Where the validation and the test accuracy of each image set stand.
_SETS = {
    "cifar10": (("cifar10-valid", "x-valid"), ("cifar10", "ori-test")),
    "cifar100": (("cifar100", "x-valid"), ("cifar100", "x-test")),
    "ImageNet16-120": (("ImageNet16-120", "x-valid"), ("ImageNet16-120", "x-test")),
}
_LONG_TRAINING = ("200", "full")
_META_FILE = "meta.pickle.pbz2"

_Result = tuple[Operations, float, float]


def nasbench201(
    path: Path,
    *,
    image_set: str = "cifar10",
    trust: bool = False,
    progress: Loading = silent,
) -> Dataset[Cell]:
    """Cells with their accuracies after 200 epochs, in the benchmark's order.

    Args:
        path: one of the files or the folder that the module names.
        image_set: ``cifar10``, ``cifar100`` or ``ImageNet16-120``; the JSON has one of them only.
        trust: whether a pickle may run code.
        progress: told after each cell.

    Raises:
        InputError: ``path`` is none of them, or a folder that lacks files of cells.
    """
    check_image_set(image_set)
    try:
        found = list(_results(path, image_set, trust=trust, progress=progress))
    except (AttributeError, KeyError, TypeError, IndexError, ValueError) as error:
        raise InputError(
            f"{path} has not the form of NAS-Bench-201's files: {type(error).__name__}: {error}"
        ) from error
    if not found:
        raise InputError(f"{path} has no cell with accuracies on {image_set} after 200 epochs")
    cells, validation, test = zip(*found, strict=True)
    return accuracy_dataset(
        cells,
        np.array(validation) / 100,
        np.array(test) / 100,
        name=f"nasbench201-{image_set}",
        conditions={
            "source": "NAS-Bench-201 (Dong and Yang, ICLR 2020)",
            "learned": f"validation accuracy on {image_set}, 200 epochs, mean over seeds",
            "tested": f"test accuracy on {image_set}, 200 epochs, mean over seeds",
        },
    )


def _results(path: Path, image_set: str, *, trust: bool, progress: Loading) -> Iterator[_Result]:
    if path.suffix == ".json":
        yield from _exported(path, progress)
        return
    if path.is_dir():
        texts = read_pickle(path / _META_FILE, trust=trust)["meta_archs"]
        infos = _folder(path, len(texts), trust=trust)
    else:
        read = read_torch if path.suffix in {".pth", ".pt"} else read_pickle
        content = read(path, trust=trust)
        texts, infos = content["meta_archs"], iter(sorted(content["arch2infos"].items()))
    for number, (index, info) in enumerate(infos, start=1):
        results = next(info[key] for key in _LONG_TRAINING if key in info)
        validation, test = (_mean_accuracy(results, *where) for where in _SETS[image_set])
        if validation is not None and test is not None:
            yield parse_architecture(texts[index]), validation, test
        progress(number, len(texts))


def _folder(path: Path, count: int, *, trust: bool) -> Iterator[tuple[int, Mapping[str, Any]]]:
    files = [path / f"{index:06d}.pickle.pbz2" for index in range(count)]
    if missing := [file.name for file in files if not file.is_file()]:
        # The first so many of the benchmark's cells would be others.
        raise InputError(
            f"{path} lacks the files of {len(missing):,} of {count:,} cells, {missing[0]} first: "
            "load it down again"
        )
    for index, file in enumerate(files):
        yield index, read_pickle(file, trust=trust)


def _mean_accuracy(results: Mapping[str, Any], image_set: str, part: str) -> float | None:
    """In %, after the last epoch; None where the cell was not trained so."""
    trainings = [
        results["all_results"][image_set, seed]
        for seed in results["dataset_seed"].get(image_set, ())
    ]
    if not trainings:
        return None
    last = [training["eval_acc1es"][f"{part}@{training['epochs'] - 1}"] for training in trainings]
    return float(np.mean(last))


def _exported(path: Path, progress: Loading) -> Iterator[_Result]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from None
    for number, entry in enumerate(content.values(), start=1):
        operations = tuple(str(name) for name in entry["module_operations"][1:-1])
        accuracies = (entry["validation_accuracy_avg"], entry["test_accuracy_avg"])
        yield operations, 100 * accuracies[0], 100 * accuracies[1]
        progress(number, len(content))
