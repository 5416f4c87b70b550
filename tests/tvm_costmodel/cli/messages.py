"""What people see where something is wrong."""

from __future__ import annotations


def assert_one_message(result: tuple[int, str, str], code: int, *parts: str) -> None:
    """The exit code, and a message without a traceback that has all of ``parts``."""
    assert result[0] == code, result
    assert "Traceback" not in result[2]
    message = " ".join(result[2].split())  # a terminal wraps lines
    for part in parts:
        assert part.lower() in message.lower()
