"""Whether the device of a lane works: steps that fail are tried again, and count against it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from measure.campaign.context import Context
from measure.errors import DeviceError, MeasurementError, WorkerError

_T = TypeVar("_T")

MAX_WORKER_ERRORS = 3
"""Failures in a row of steps that any worker should do, after which a lane gives up."""


class QuarantinedError(Exception):
    """The device failed too often."""


class DeviceHealth:
    """What a lane knows of its device; the database remembers it beyond the lane.

    Args:
        device: ``local``, or the address of an RPC device.
        context: of the campaign.
    """

    def __init__(self, device: str, context: Context) -> None:
        self.device = device
        self._context = context
        self._has_worked = False

    def insist(self, step: Callable[[], _T]) -> _T:
        """The result of ``step``, which is tried again where a worker fails, but not endlessly."""
        left = MAX_WORKER_ERRORS
        while True:
            left -= 1
            try:
                return step()
            except (MeasurementError, WorkerError) as error:
                self._context.check()
                if not left:
                    raise
                self._context.report("worker-lost", detail=f"{self.device}: {error}")

    def survive(self, error: DeviceError, attempt: Callable[[], _T]) -> _T:
        """Count a failure of the device, and attempt something until it works again.

        Each attempt that fails counts too, until the device is quarantined.

        Raises:
            QuarantinedError: it is now.
        """
        context = self._context
        while True:
            context.report("device-lost", detail=f"{self.device}: {error}")
            state = context.devices.record_failure(self.device, self.device, str(error))
            if state.state == "quarantined":
                context.quarantine(self.device, str(error))
                raise QuarantinedError
            try:
                result = attempt()
            except DeviceError as next_error:
                error = next_error
                continue
            context.devices.record_success(self.device, self.device)
            return result

    def works(self) -> None:
        """With the first round that is stored, failures of the device before it count no more."""
        if not self._has_worked and self._context.devices.get(self.device).failures_in_a_row:
            self._context.devices.record_success(self.device, self.device)
        self._has_worked = True
