"""The commands together, and what becomes of their errors."""

from __future__ import annotations

import sys

import typer

from relay_frontend.errors import CostModelError, InputError
from tvm_costmodel.cli import (
    comparing,
    databases,
    devices,
    estimating,
    evaluating,
    learning,
    measuring,
    zoo,
)

# Which extra brings an optional package.
_EXTRAS = {
    "alembic": "measure",
    "pyarrow": "measure",
    "scipy": "report",
    "sklearn": "train",
    "sqlalchemy": "measure",
    "torch": "train",
    "torch_geometric": "train",
}

app = typer.Typer(
    help="How long will this network take on that device? Answered before anything is built.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
for command in (
    estimating.estimate,
    estimating.tokens,
    measuring.measure,
    zoo.zoo,
    devices.devices,
    devices.serve,
    devices.tracker,
    learning.train,
    evaluating.evaluate,
    comparing.compare,
    learning.platforms,
    comparing.demo,
):
    app.command()(command)
app.add_typer(databases.app, name="db")


def main() -> None:
    """Run the command line; errors are one message on standard error, never a traceback.

    Exit code 2 where the input is at fault, 1 where something failed.
    """
    try:
        app()
    except CostModelError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2 if isinstance(error, InputError) else 1)
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in _EXTRAS:
            raise
        install = f"pip install 'tvm-costmodel[{_EXTRAS[package]}]'"
        print(f"error: this needs {package}: {install}", file=sys.stderr)
        sys.exit(2)
