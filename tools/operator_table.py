"""Write docs/operators.md: the vocabulary, and from which sources each operator is read.

    .venv/bin/python tools/operator_table.py

The table is the vocabulary's own; the marks are those of the tests that compare the sources
operator by operator (``tests/relay_frontend/test_operators.py``).
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "operators.md"
SOURCES = ("onnx", "relay", "relax")
LABELS = {
    "onnx": "ONNX",
    "relay": "Relay",
    "relax": "Relax",
    "torch": "torch",
    "core": "Relax in core operators",
}

sys.path.insert(0, str(ROOT))

from relay_frontend.operators import OPERATORS, OperatorSpec  # noqa: E402
from relay_frontend.vocabulary import CATEGORIES, SIZES, VERSION  # noqa: E402
from tests import networks  # noqa: E402
from tests.relay_frontend.operator_cases import CASES, DIFFERENCES, Case  # noqa: E402

INTRODUCTION = """# Operators

Made by `tools/operator_table.py` from the vocabulary and from the tests; do not edit.

The vocabulary is version {version}: {size} operators. Versions only grow, so that the {first} \
operators of version 1, those of NAR-Former V2's public code, are its beginning, and a checkpoint \
made with an older version sees a newer operator as its category. *Slots* are the attributes that \
a token encodes, at most eight, in this order. *FLOPs* is the rule of `relay_frontend/costs.py`, \
with its factor.

A mark says what the tests have seen. ✓: every case of the operator gives the same digest from \
this source as from ONNX (from ONNX: exactly this operator). A number: some cases differ, for the \
reason below. Without a name: the source has no such operator; where it says the same with \
others, the operator is put together from them (see `relay_frontend/canonical/patterns.py`). A \
PyTorch program comes through Relax.

| operator | what it is | slots | FLOPs | category | ONNX | Relay | Relax |
|---|---|---|---|---|---|---|---|
"""

NETWORKS = """
## Networks

The same network has one digest from its ONNX file, from TVM's importers of that file into Relay \
and Relax, and, where it was written in torch, from the module itself; *core* is a Relax module \
that TVM imported from a program in torch's core operators.

| network | Relay | Relax | torch | core |
|---|---|---|---|---|
"""


class Reasons:
    """Reasons why sources differ, numbered as they come up."""

    def __init__(self) -> None:
        self.numbers: dict[str, int] = {}

    def mark(self, cases: Sequence[Case], source: str) -> str:
        """✓, or the numbers of the reasons for which cases differ; empty without cases."""
        if not cases:
            return ""
        return self.of([DIFFERENCES.get((case.name, source)) for case in cases], source)

    def of(self, found: Sequence[str | None], source: str) -> str:
        """The mark for the reasons of several cases, None where a case agrees."""
        reasons = sorted({f"{LABELS[source]}: {r}." for r in found if r is not None})
        marks = [str(self.numbers.setdefault(r, len(self.numbers) + 1)) for r in reasons]
        agree = ["✓"] if None in found else []
        return " ".join([*agree, *(f"[{mark}]" for mark in marks)])


def slots(spec: OperatorSpec) -> str:
    """The attributes of a token, an index for every element of a tuple that it has."""
    indices: dict[str, list[str]] = {}
    for slot in spec.slots:
        name, _, index = slot.rstrip("]").partition("[")
        indices.setdefault(name, []).extend([index] * bool(index))
    return ", ".join(name + (f"[{','.join(i)}]" if i else "") for name, i in indices.items())


def row(name: str, spec: OperatorSpec, reasons: Reasons) -> str:
    """The line of one operator."""
    cases = [case for case in CASES if name in case.ops]
    cells = [f"`{name}`", spec.summary, slots(spec), spec.cost, spec.category]
    for source in SOURCES:
        names = " ".join(f"`{n}`" for n in getattr(spec, source)) or ""
        cells.append(f"{names} {reasons.mark(cases, source)}".strip())
    return f"| {' | '.join(cells)} |\n"


def page() -> Iterator[str]:
    """The whole page."""
    yield INTRODUCTION.format(version=VERSION, size=SIZES[VERSION], first=SIZES[1])
    reasons = Reasons()
    for name, spec in OPERATORS.items():
        if name not in CATEGORIES:
            yield row(name, spec, reasons)
    yield NETWORKS
    for name in networks.TORCH_NETWORKS:
        found = {source: networks.DIFFERENCES.get((name, source)) for source in LABELS}
        cells = [reasons.of([found[source]], source) for source in list(LABELS)[1:]]
        yield f"| {name} | {' | '.join(cells)} |\n"
    agreeing = (*networks.FAMILIES, *networks.LIGHT_NETWORKS, "nnlqp_resnet18")
    for name in agreeing:
        yield f"| {name} | ✓ | ✓ |  |  |\n"
    yield "\n## Why sources differ\n\n"
    for reason, number in reasons.numbers.items():
        yield f"{number}. {reason}\n"
    yield "\n## Categories\n\n"
    yield (
        f"What is outside of the vocabulary counts as its category ({', '.join(CATEGORIES)}; after "
        "TVM's `TOpPattern`) with its true shapes, and is named in `graph.unknown_ops`.\n"
    )


if __name__ == "__main__":
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text("".join(page()), encoding="utf-8")
