"""NAR-Former V2 and kernel-sum together: the geometric mean of both.

The one sees a whole network and knows nothing of its build, the other sees kernels and nothing of
what is around them; they err apart, above all on families that neither has learned. So their mean
is nearer than either where both are unsure. It costs what both cost: with the compiler's kernels
the seconds that listing them takes, with ``kernels=guess`` no compiler.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from relay_frontend.errors import InputError
from tvm_costmodel.errors import CheckpointError
from tvm_costmodel.learning.trainer import TrainingConfig
from tvm_costmodel.predictors import option_names
from tvm_costmodel.predictors.base import (
    Combination,
    FitEvent,
    FloatArray,
    Network,
    Predictor,
    Progress,
    silent,
)
from tvm_costmodel.predictors.blending import FILE, BlendDescription, blended
from tvm_costmodel.predictors.examples import validation_mape
from tvm_costmodel.predictors.kernel_sum import KernelSum, KernelSumConfig
from tvm_costmodel.predictors.nar_former_v2.config import LatencyNarFormerV2Config
from tvm_costmodel.predictors.nar_former_v2.predictor import LatencyNarFormerV2
from tvm_costmodel.predictors.nar_former_v2.presets import LATENCY_PRESETS
from tvm_costmodel.predictors.storage import new_directory, write_directory
from tvm_costmodel.specs import Spec

if TYPE_CHECKING:
    from typing_extensions import Self

_PRESET = "best"  # of NAR-Former V2, where none is named


@dataclass(frozen=True, kw_only=True)
class BlendConfig:
    """What is blended, and how.

    Args:
        network: of NAR-Former V2.
        kernel_sum: of kernel-sum; its seed is that of both.
        weight: of kernel-sum's logarithm, that of NAR-Former V2 being what is left of 1.

    Raises:
        InputError: the weight is not between 0 and 1.
    """

    network: LatencyNarFormerV2Config = field(default_factory=LATENCY_PRESETS[_PRESET])
    kernel_sum: KernelSumConfig = field(default_factory=KernelSumConfig)
    weight: float = 0.5

    def __post_init__(self) -> None:
        if not 0 <= self.weight <= 1:
            raise InputError(f"BlendConfig.weight must be 0 to 1, got {self.weight}")


def _with_preset(name: str) -> BlendConfig:
    return BlendConfig(network=LATENCY_PRESETS[name]())


class Blend(Combination[Network]):
    """Latencies of whole networks in ms, by both."""

    name: ClassVar[str] = "blend"
    config_type: ClassVar[type[BlendConfig]] = BlendConfig
    default_training: ClassVar[TrainingConfig] = LatencyNarFormerV2.default_training
    presets: ClassVar[dict[str, Callable[[], BlendConfig]]] = {
        name: partial(_with_preset, name) for name in LATENCY_PRESETS
    }

    def __init__(
        self, config: BlendConfig | None = None, training: TrainingConfig | None = None
    ) -> None:
        self.config = config or BlendConfig()
        seed = self.config.kernel_sum.trees.seed
        self.training = replace(training or self.default_training, seed=seed)
        self.facts: dict[str, Any] = {}
        self._network = LatencyNarFormerV2(self.config.network, self.training)
        self._kernel_sum = KernelSum(self.config.kernel_sum)

    def fit(
        self,
        inputs: Sequence[Network],
        targets: FloatArray,
        *,
        validation: tuple[Sequence[Network], FloatArray] | None = None,
        progress: Progress = silent,
    ) -> None:
        """Fit both, kernel-sum first.

        Raises:
            InputError: either cannot learn from the inputs; kernel-sum needs measured kernels.
        """
        trees, epochs = self.config.kernel_sum.trees.num_trees, self.training.epochs
        total = trees + epochs

        def tell(offset: int, event: FitEvent) -> None:
            step = min(offset + event.step, total - 1)
            progress(replace(event, step=step, steps=total))

        self._kernel_sum.fit(inputs, targets, progress=partial(tell, 0))
        self._network.fit(inputs, targets, validation=validation, progress=partial(tell, trees))
        error = validation_mape(self, validation)
        progress(FitEvent(step=total, steps=total, validation=error))

    def predict(self, inputs: Sequence[Network]) -> FloatArray:
        return self.combine([part.predict(inputs) for part in (self._network, self._kernel_sum)])

    def combine(self, predictions: Sequence[FloatArray]) -> FloatArray:
        network_ms, kernels_ms = predictions
        return blended(network_ms, kernels_ms, self.config.weight)

    @classmethod
    def part_specs(cls, spec: Spec) -> tuple[Spec, ...]:
        if "preset" not in spec.options:
            spec = Spec(spec.name, ",".join(filter(None, [f"preset={_PRESET}", spec.text])))
        return tuple(
            spec.as_part(part.name, partial(_option_of, part, field))
            for part, field in ((LatencyNarFormerV2, "network"), (KernelSum, "kernel_sum"))
        )

    def save(self, directory: Path) -> None:
        """Write the files of both beside each other, so that each can be loaded alone as well."""
        with new_directory(directory) as made:
            self._network.save(made)
            with tempfile.TemporaryDirectory(dir=made.parent) as scratch:
                alone = Path(scratch) / KernelSum.name
                self._kernel_sum.save(alone)
                for path in alone.iterdir():
                    shutil.move(path, made)
            description = BlendDescription(weight=self.config.weight, facts=self.facts)
            (made / FILE).write_bytes(description.encode())

    def save_beside(self, directory: Path, parts: Sequence[str]) -> None:
        network, kernel_sum = parts
        description = BlendDescription(
            weight=self.config.weight, network=network, kernel_sum=kernel_sum, facts=self.facts
        )
        write_directory(directory, {FILE: description.encode()})

    @classmethod
    def load(cls, directory: Path) -> Self:
        said = BlendDescription.read(directory)
        network = LatencyNarFormerV2.load(directory / said.network)
        kernel_sum = KernelSum.load(directory / said.kernel_sum)
        try:
            config = BlendConfig(
                network=network.config, kernel_sum=kernel_sum.config, weight=said.weight
            )
        except (InputError, TypeError) as error:
            raise CheckpointError(f"predictor {directory}: {FILE}: {error}") from error
        blend = cls(config, network.training)
        blend.facts = dict(said.facts)
        blend._network, blend._kernel_sum = network, kernel_sum
        return blend

    def describe(self) -> dict[str, Any]:
        return self.describe_with([self._network.describe(), self._kernel_sum.describe()])

    def describe_with(self, parts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        network, kernel_sum = parts
        return {
            "name": self.name,
            "weight": self.config.weight,
            "parameters": network.get("parameters"),
            "network": network,
            "kernel_sum": kernel_sum,
        }


def _option_of(part: type[Predictor[Any]], field: str, name: str) -> str | None:
    """What ``part`` calls an option of a blend, in whose configuration it is ``field``."""
    paths = {*option_names(part.name), *(["preset"] if getattr(part, "presets", None) else [])}
    own = name.removeprefix(f"{field}.")
    return own if own in paths | {path.rpartition(".")[2] for path in paths} else None
