"""The lower rooms run in any TVM environment."""

from __future__ import annotations

import subprocess
import sys


def test_the_lower_rooms_and_the_cost_model_import_without_torch_tvm_and_xgboost():
    code = (
        "import sys; import relay_frontend, measure.campaign, measure.zoo, tvm_costmodel; "
        "loaded = {'torch', 'tvm', 'xgboost'} & set(sys.modules); "
        "sys.exit(str(loaded) if loaded else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
