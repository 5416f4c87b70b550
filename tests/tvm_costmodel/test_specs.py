"""Names with options."""

from __future__ import annotations

import pytest

from relay_frontend.errors import InputError
from tvm_costmodel.specs import Spec, parse_specs


def test_a_name_may_carry_options():
    spec = Spec.parse(" nar-former-v2[preset=paper, width=128,amp=true,relations=forward+kernel] ")
    assert spec.name == "nar-former-v2"
    assert spec.options == {
        "preset": "paper", "width": 128, "amp": True, "relations": ("forward", "kernel"),
    }  # fmt: skip
    assert Spec.parse("flops").options == {}


def test_commas_in_brackets_do_not_divide_a_list():
    specs = parse_specs("flops, nnlp[width=64,epochs=2],tpu")
    assert [str(spec) for spec in specs] == ["flops", "nnlp[width=64,epochs=2]", "tpu"]


def test_a_path_is_a_name():
    assert str(Spec.parse("nnlqp:/data/set one")) == "nnlqp:/data/set one"


@pytest.mark.parametrize("text", ["", "[a=1]", "a[b", "a[b]", "a[=1]", "a[b=1,b=2]", "a[b=1]c"])
def test_what_is_neither_is_refused(text):
    with pytest.raises(InputError, match="expected"):
        Spec.parse(text)


def test_one_more_option_takes_the_place_of_one_of_its_name():
    spec = Spec.parse("kernel-sum[kernels=compiler,trials=3]").with_option("kernels", "guess")
    assert str(spec) == "kernel-sum[trials=3,kernels=guess]"
    assert str(Spec("flops").with_option("epochs", 3)) == "flops[epochs=3]"
