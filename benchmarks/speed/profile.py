"""Where the time of long texts goes, in our engine and in OpenVINO: full depth, operator by operator.

    python -m benchmarks.speed.profile --data DIR --model DIR --teacher DIR

--data holds ag_news/test.tsv, of which long texts are made; --teacher is a classifier and --model a FastBERT
around it. One thread. Both sides run in turn, as they are and under the library's own profiler, which costs
something itself; the quickest round counts. Writes a Parquet file; `make performance` makes the table.
"""

import argparse
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import openvino
import torch
from torch._C._profiler import _ExperimentalConfig
from torch.profiler import ProfilerActivity, profile

from benchmarks.results import RESULTS, machine, write_rows
from benchmarks.speed.datasets import read_dataset
from benchmarks.speed.exported_baselines import openvino_model, padded_batches
from benchmarks.speed.gemm import gemm_peak
from benchmarks.speed.system import Rows
from benchmarks.speed.torch_baselines import DTYPES, be_quiet
from model.checkpoints.loading import load_tokenizer
from model.engine.execution import Precision, resolve_execution
from model.exits.layer_sweep import predict_tokenized
from model.exits.policy import ExitPolicy
from model.fastbert import FastBertForSequenceClassification

MAX_LENGTH = 512
WEIGHTS, ATTENTION, REST = "products with weights", "attention", "the rest"
# What our engine's operators and OpenVINO's nodes are for; the fused attention is one of its subgraphs.
TORCH_OPERATORS = {
    "mkldnn::_linear_pointwise": WEIGHTS,
    **dict.fromkeys(
        # Nearly all copies are the attention's: texts put side by side, scores in float32.
        ("aten::bmm", "aten::copy_", "aten::amax", "aten::sub_", "aten::exp2_", "aten::sum", "aten::div_"),
        ATTENTION,
    ),
}
# A side run plainly, and run under its profiler, which gives seconds by part.
Side = tuple[Callable[[], None], Callable[[], Counter[str]]]
OPENVINO_NODES = {"FullyConnected": WEIGHTS, "Subgraph": ATTENTION}


def main() -> None:
    args = parse_args()
    be_quiet()
    torch.set_num_threads(1)
    tokenizer = load_tokenizer(args.teacher)
    rows = Rows(read_dataset("long", args.data, args.rows, tokenizer), tokenizer, MAX_LENGTH)
    measured = []
    for precision in args.precision:
        peak = gemm_peak(DTYPES[precision], threads=1)
        sides = {"fastbert-jobs": ours(args, rows, precision), "OpenVINO": other(args, rows, precision)}
        for system, parts in in_turn(sides, args.rounds).items():
            milliseconds = {part: 1000 * seconds / len(rows) for part, seconds in parts.items()}
            measured.append({"system": system, "precision": precision, "gemm_gflops": peak, **milliseconds})
            print(measured[-1], flush=True)
    environment = {
        **machine(threads=1, libraries=("torch", "openvino")),
        "rows": len(rows),
        "tokens": float(rows.tokenized.lengths.mean()),
    }
    write_rows(args.output, measured, environment)


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    for name in ("--data", "--model", "--teacher"):
        parser.add_argument(name, type=Path, required=True)
    parser.add_argument("--rows", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--output", type=Path, default=RESULTS / "profile.parquet")
    parser.add_argument("--precision", type=lambda names: names.split(","), default=["fp32", "bf16"])
    return parser.parse_args()


def ours(args: argparse.Namespace, rows: Rows, precision: str) -> Side:
    """Return our engine."""
    model = FastBertForSequenceClassification.from_pretrained(args.model)
    engine = model.engine(resolve_execution(Precision(precision)))
    policy = ExitPolicy.from_speed(0.0, num_layers=engine.num_layers)

    def run() -> None:
        predict_tokenized(engine, rows.tokenized, policy)

    def profiled() -> Counter[str]:
        every_thread = _ExperimentalConfig(profile_all_threads=True)
        with profile(activities=[ProfilerActivity.CPU], experimental_config=every_thread) as found:
            run()
        parts: Counter[str] = Counter()
        for event in found.key_averages():
            parts[TORCH_OPERATORS.get(event.key, REST)] += event.self_cpu_time_total / 1e6
        return parts

    return run, profiled


def other(args: argparse.Namespace, rows: Rows, precision: str) -> Side:
    """Return OpenVINO."""
    options = {
        "INFERENCE_PRECISION_HINT": {"fp32": "f32", "bf16": "bf16"}[precision],
        "INFERENCE_NUM_THREADS": 1,
        "PERFORMANCE_HINT": "LATENCY",
    }
    batches = [{0: ids, 1: mask} for _, ids, mask in padded_batches(rows)]
    plain, counting = (
        openvino.Core()
        .compile_model(openvino_model(args.teacher), "CPU", {**options, "PERF_COUNT": counts})
        .create_infer_request()
        for counts in (False, True)
    )

    def run() -> None:
        for batch in batches:
            plain.infer(batch)

    def profiled() -> Counter[str]:
        parts: Counter[str] = Counter()
        for batch in batches:
            counting.infer(batch)
            for node in counting.profiling_info:
                parts[OPENVINO_NODES.get(node.node_type, REST)] += node.real_time.total_seconds()
        return parts

    return run, profiled


def in_turn(sides: dict[str, Side], rounds: int) -> dict[str, dict[str, float]]:
    """Return the seconds of each side, by part and as a whole."""
    wholes: dict[str, list[float]] = {name: [] for name in sides}
    parts: dict[str, list[Counter[str]]] = {name: [] for name in sides}
    for number in range(rounds + 1):
        for name, (run, profiled) in sides.items():
            started = time.perf_counter()
            run()
            seconds = time.perf_counter() - started
            if number:  # the first warms up
                wholes[name].append(seconds)
                parts[name].append(profiled())
    return {
        name: {"whole": min(wholes[name]), **min(parts[name], key=lambda each: sum(each.values()))}
        for name in sides
    }


if __name__ == "__main__":
    main()
