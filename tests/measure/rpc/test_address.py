"""Addresses of devices over RPC."""

from __future__ import annotations

import pytest

from measure.client import Worker
from measure.rpc.address import RpcAddress, is_remote, parse_host, with_limit
from relay_frontend.errors import InputError
from tests.measure.fake_toolchain import SPEC


@pytest.mark.parametrize("text", ["rpc://board-1.lab:9190/rk3588", "rpc://[fe80::1]:9190/a_b.c+d"])
def test_an_address_is_read_and_written(text: str) -> None:
    assert str(RpcAddress.parse(text)) == text


def test_the_parts_are_tracker_and_key() -> None:
    address = RpcAddress.parse("rpc://[fe80::1]:9190/rk3588?limit_s=12.5")
    assert address == RpcAddress(host="fe80::1", port=9190, key="rk3588", limit_s=12.5)


@pytest.mark.parametrize(
    "text",
    ["rpc://host/key", "rpc://host:9190", "rpc://host:9190/", "host:9190/key", "rpc://host:9/k y"],
)
def test_another_form_is_rejected_with_the_expected_one(text: str) -> None:
    with pytest.raises(InputError, match="expected"):
        RpcAddress.parse(text)


@pytest.mark.parametrize("text", ["host", "host:", "host:0", "host:65536", "a:b:1"])
def test_a_host_needs_its_port(text: str) -> None:
    with pytest.raises(InputError, match="expected host:port"):
        parse_host(text)


def test_only_remote_devices_have_limited_sessions() -> None:
    assert with_limit("local", 3.0) == "local"
    limited = with_limit("rpc://host:9190/key", 3.0)
    assert RpcAddress.parse(limited).limit_s == 3.0
    assert (is_remote("local"), is_remote(limited)) == (False, True)


def test_a_worker_rejects_what_is_no_device() -> None:
    with pytest.raises(InputError, match="expected 'local', or rpc://host:port/key"):
        Worker(SPEC, device="board")


def test_cpus_are_of_this_machine_alone() -> None:
    with pytest.raises(InputError, match="start the device's server on the CPUs"):
        Worker(SPEC, device="rpc://host:9190/key", cpus=[0])
