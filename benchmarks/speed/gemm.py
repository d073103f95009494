"""The most that this machine's cores can do in matrix products."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import torch

# (in, out) features of the products in a 12 x 384 BERT, and tokens of a micro-batch.
SHAPES = ((384, 1152), (384, 1536), (1536, 384))
TOKENS = (512, 1024, 2048)
SECONDS_PER_SHAPE = 0.1


def gemm_peak(dtype: torch.dtype, *, threads: int, clock: Callable[[], float] = time.perf_counter) -> float:
    """Return the best GFLOP/s of oneDNN's packed products, over shapes and two ways to use the cores.

    One product on all cores, or a product on each: the first waits for the slowest core every time. The
    `clock` may be that of the CPU where there is one thread.
    """
    products = [(tokens, *shape) for tokens in TOKENS for shape in SHAPES]
    torch.set_num_threads(threads)
    best = max(_gflops(*product, dtype, clock) for product in products)
    barrier = Barrier(threads)

    def alone(_: int) -> list[float]:
        torch.set_num_threads(1)
        rates = []
        for product in products:
            barrier.wait()
            rates.append(_gflops(*product, dtype, clock))
        return rates

    with ThreadPoolExecutor(threads) as pool:
        best = max(best, *map(sum, zip(*pool.map(alone, range(threads)), strict=True)))
    # What a thread sets for itself, threads that start later begin with.
    torch.set_num_threads(threads)
    return best


@torch.inference_mode()
def _gflops(
    num_tokens: int, in_features: int, out_features: int, dtype: torch.dtype, clock: Callable[[], float]
) -> float:
    states, bias = torch.randn(num_tokens, in_features).to(dtype), torch.zeros(out_features, dtype=dtype)
    weight = torch.randn(out_features, in_features).to(dtype)
    packed = torch.ops.mkldnn._reorder_linear_weight(weight, num_tokens)

    def product() -> torch.Tensor:
        return torch.ops.mkldnn._linear_pointwise(states, packed, bias, "none", [], "")

    return 2 * num_tokens * in_features * out_features * _calls_per_second(product, clock) / 1e9


def _calls_per_second(function: Callable[[], object], clock: Callable[[], float]) -> float:
    function()
    calls, started = 0, clock()
    while (seconds := clock() - started) < SECONDS_PER_SHAPE:
        function()
        calls += 1
    return calls / seconds
