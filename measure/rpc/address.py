"""Addresses of devices over RPC, and the names of what our servers do beside TVM's."""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass

from relay_frontend.errors import InputError

SCHEME = "rpc://"
FINGERPRINT = "tvm_costmodel.fingerprint"
COUNTERS = "tvm_costmodel.counters"
DRAW = "tvm_costmodel.draw"
PROBE = "tvm_costmodel.probe"
SET_THREADS = "tvm_costmodel.set_threads"
TIME_FUNCTION = "tvm_costmodel.time_function"

_ADDRESS = re.compile(
    r"rpc://(?P<host>[^/?#]+)/(?P<key>[A-Za-z0-9._+-]+)(?:\?limit_s=(?P<limit_s>\d+(?:\.\d+)?))?"
)
_HOST = re.compile(r"(?:\[(?P<ipv6>[^\]]+)\]|(?P<name>[^:\s]+)):(?P<port>\d{1,5})")


@dataclass(frozen=True, kw_only=True)
class RpcAddress:
    """Servers of equal devices: ``rpc://host:port/key``, optionally ``?limit_s=60``.

    Args:
        host: of the tracker; an IPv6 address stands in brackets.
        port: of the tracker.
        key: under which the servers registered.
        limit_s: a session ends, at the latest, so many seconds after its start.
    """

    host: str
    port: int
    key: str
    limit_s: float = 120.0

    @classmethod
    def parse(cls, text: str) -> RpcAddress:
        """The address that ``text`` stands for.

        Raises:
            InputError: ``text`` has another form.
        """
        found = _ADDRESS.fullmatch(text)
        if found is None:
            raise InputError(
                f"device {text!r}: expected 'local', or rpc://host:port/key with the address of a "
                "tracker and the key of its servers, of the characters A-Z a-z 0-9 . _ + -"
            )
        host, port = parse_host(found["host"])
        address = cls(host=host, port=port, key=found["key"])
        if found["limit_s"] is None:
            return address
        return dataclasses.replace(address, limit_s=float(found["limit_s"]))

    def __str__(self) -> str:
        """``rpc://host:port/key``."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{SCHEME}{host}:{self.port}/{self.key}"


def is_remote(device: str) -> bool:
    """Whether ``device`` is an address, not ``local``."""
    return device.startswith(SCHEME)


def with_limit(device: str, limit_s: float) -> str:
    """The device ``device`` with sessions of at most ``limit_s`` seconds, where it has sessions."""
    if not is_remote(device):
        return device
    return f"{RpcAddress.parse(device)}?limit_s={limit_s:.3f}"


def parse_host(text: str) -> tuple[str, int]:
    """Host and port of ``host:port`` or ``[ipv6]:port``.

    Raises:
        InputError: ``text`` has another form.
    """
    found = _HOST.fullmatch(text)
    if found is None or not 0 < int(found["port"]) < 1 << 16:
        raise InputError(f"{text!r}: expected host:port with a port from 1 to 65535")
    return found["ipv6"] or found["name"], int(found["port"])
