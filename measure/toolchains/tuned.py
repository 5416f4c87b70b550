"""The toolchain ``tvm-relax-tuned``: Relax with schedules from a MetaSchedule database."""

from __future__ import annotations

import os
from pathlib import Path
from typing import ClassVar

import onnx
import tvm
from tvm import relax

from measure.toolchains.relax import RelaxToolchain
from measure.toolchains.tuning import database_digest, records_for
from relay_frontend.errors import InputError
from relay_frontend.relax import kernels as relax_kernels
from relay_frontend.relax.importer import import_onnx

_VARIABLE = "TVM_COSTMODEL_TUNING"


class TunedRelaxToolchain(RelaxToolchain):
    """Relax's default pipeline, its kernels scheduled by the best records of a database.

    The environment variable ``TVM_COSTMODEL_TUNING`` names the directory of the database
    (:mod:`measure.toolchains.tuning`). Versions include a hash of its records: platforms that
    differ in nothing else are different ones. Kernels keep the names and the order that they have
    without schedules. Parallel loops use as many threads as ``TVM_NUM_THREADS`` says.
    """

    name: ClassVar[str] = "tvm-relax-tuned"

    def versions(self) -> dict[str, str]:
        """Those of :class:`RelaxToolchain`, and a hash of the records."""
        return {**super().versions(), "tuning": database_digest(_directory())}

    def _fuse(
        self, network: onnx.ModelProto, target: tvm.target.Target
    ) -> relax_kernels.FusedModule:
        """The fused network with scheduled kernels.

        Raises:
            InputError: the database has no record of a kernel for ``target``.
        """
        directory = _directory()
        database_digest(directory)  # MetaSchedule would make a database where there is none
        with target, records_for(directory, target):
            fused = relax_kernels.fuse(
                import_onnx(network), target, schedule=[relax.transform.MetaScheduleApplyDatabase()]
            )
        untuned = {
            kernel.name
            for kernel in relax_kernels.fused_kernels(fused)
            if not (fused.mod[kernel.name].attrs or {}).get("tirx.is_scheduled")
        }
        if untuned:
            raise InputError(
                f"{directory} has no records of the kernels {', '.join(sorted(untuned))} for "
                f"target {target}: tune the network first (measure.toolchains.tuning.tune)"
            )
        return fused


def _directory() -> Path:
    named = os.environ.get(_VARIABLE)
    if not named:
        raise InputError(
            f"set {_VARIABLE} to the directory of a MetaSchedule database, made by "
            "measure.toolchains.tuning.tune"
        )
    return Path(named)
