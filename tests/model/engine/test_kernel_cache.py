import os
import subprocess
import sys

import pytest
import torch

from model.engine.fused_linear import has_onednn
from model.engine.kernel_cache import limit_kernel_cache

VARIABLES = ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY")
# More shapes than are kept, and then the first one again.
PRODUCTS = """
import torch
from model.engine.kernel_cache import limit_kernel_cache
{limit}
weight = torch.randn(8, 8)
for rows in (*range(1, 301), 1):
    torch.ops.mkldnn._linear_pointwise(torch.randn(rows, 8), weight, None, "none", [], "")
"""


def kernels_made(limit: str) -> int:
    environment = {name: value for name, value in os.environ.items() if name not in VARIABLES}
    done = subprocess.run(
        [sys.executable, "-c", PRODUCTS.format(limit=limit)],
        env={**environment, "ONEDNN_VERBOSE": "profile_create"},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return done.stdout.count("create:cache_miss")


@pytest.mark.skipif(not has_onednn(torch.float32), reason="oneDNN is not there")
def test_a_kernel_is_made_again_where_many_others_were_met_since():
    assert kernels_made("limit_kernel_cache()") == kernels_made("") + 1


@pytest.mark.parametrize("variable", VARIABLES)
def test_what_a_user_has_set_stays(monkeypatch, variable):
    monkeypatch.setenv(variable, "7")
    limit_kernel_cache()
    assert os.environ[variable] == "7"
