"""What can go wrong while measuring, by whose fault it is."""

from __future__ import annotations

from relay_frontend.errors import CostModelError, InputError

_LOG_LINES_IN_MESSAGE = 12


class UnknownToolchainError(InputError):
    """No toolchain has this name, or its class cannot be imported."""


class InterpreterError(InputError):
    """No Python with the TVM that a toolchain needs is here, or none that compiles for a platform.

    The message says what to do.
    """


class UnknownPlatformError(InputError):
    """The platform's name is malformed, or nothing was measured on such a platform."""


class PlatformChangedError(InputError):
    """The platform is known under this name with another CPU, compiler or target."""


class ProtocolError(InputError):
    """The timing protocol contradicts itself or what was measured under its name."""


class DatabaseError(InputError):
    """The file is no measurement database, or one of another schema version."""


class MeasurementError(CostModelError):
    """A stage failed for one network: the fault of the compiler or of the network, not ours.

    Args:
        stage: ``build``, ``run`` or ``kernels``.
        network: name of the network.
        cause: class of the failure, such as ``InternalError`` or ``SIGSEGV``.
        reason: what happened, in words.
        log: what the process printed last.
    """

    def __init__(self, stage: str, network: str, cause: str, reason: str, log: str = "") -> None:
        self.stage = stage
        self.network = network
        self.cause = cause
        self.reason = reason
        self.log = log
        lines = log.strip().splitlines()[-_LOG_LINES_IN_MESSAGE:]
        tail = "".join(f"\n  | {line}" for line in lines)
        super().__init__(f"{stage} of network {network!r} failed: {cause}: {reason}{tail}")


class BuildError(MeasurementError):
    """The compiler rejected the network or died of it."""


class RunError(MeasurementError):
    """The built network crashed, or computed something else than finite numbers."""


class TimeLimitError(MeasurementError):
    """A stage did not end within its limit, ``limit_s`` seconds."""

    def __init__(self, stage: str, network: str, limit_s: float, log: str = "") -> None:
        self.limit_s = limit_s
        super().__init__(
            stage, network, "TimeLimitError", f"not done within its limit of {limit_s:g} s", log
        )


class KernelsChangedError(MeasurementError):
    """A build of a network has other kernels than an earlier one on the same platform."""

    def __init__(self, network: str, reason: str) -> None:
        super().__init__("kernels", network, "KernelsChanged", reason)


class DeviceError(CostModelError):
    """A device cannot be reached, stalls or lost its connection: infrastructure, no network."""


class LeaseLostError(CostModelError):
    """The lease on a job ran out and another process has the job now; nothing was stored."""


class WorkerError(CostModelError):
    """A worker process could not start, died or stopped answering: infrastructure, no network."""
