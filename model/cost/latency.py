"""What layers and branches cost in seconds, measured where they run."""

import time
from dataclasses import dataclass

import torch
from torch import Tensor

from model.cost.flops import FlopsModel
from model.engine.engine import Engine
from model.tokens.packing import MicroBatch, argsort_by_length
from model.tokens.tokenization import TokenizedTexts


@dataclass(frozen=True, kw_only=True)
class RunCost:
    """Seconds and FLOPs per token, averaged over layers and over the texts they were measured on.

    Attributes:
        layer_seconds: of one layer.
        branch_seconds: of one branch.
        layer_flops: of one layer.
        branch_flops: of one branch.
    """

    layer_seconds: float
    branch_seconds: float
    layer_flops: float
    branch_flops: float

    @property
    def branch_to_layer_time_per_flop(self) -> float:
        """Time of a branch's FLOP as a multiple of that of a layer's: its products are small ones."""
        branch, layer = self.branch_seconds / self.branch_flops, self.layer_seconds / self.layer_flops
        return branch / layer


@torch.inference_mode()
def measure_cost(engine: Engine, texts: TokenizedTexts, flops: FlopsModel) -> RunCost:
    """Run all layers but the last, and their branches, and take the time of each.

    Args:
        engine: a FastBERT made ready.
        texts: at least one, in any order; some thousand tokens are enough.
        flops: of the model.
    """
    ordered = texts.take(argsort_by_length(texts.lengths))
    batches = engine.micro_batches(ordered.lengths)

    def run(batch: MicroBatch) -> Tensor:
        states = engine.embed(ordered, batch)
        times = [_now(engine)]
        for layer in range(1, engine.num_layers):
            states = engine.run_layer(layer, states, batch)
            times.append(_now(engine))
            engine.branch_logits(layer, engine.branch_features(layer, states, batch))
            times.append(_now(engine))
        steps = torch.tensor(times, dtype=torch.float64).diff()
        return torch.stack([steps[0::2].sum(), steps[1::2].sum()])[None]

    # The first time kernels are compiled.
    engine.run_on_driver_thread(lambda: engine.map_micro_batches(run, batches))
    seconds = torch.cat(engine.run_on_driver_thread(lambda: engine.map_micro_batches(run, batches))).sum(
        dim=0
    )
    layers, tokens = engine.num_layers - 1, int(texts.lengths.sum())
    layer_flops = flops.to_layers(texts.lengths)
    return RunCost(
        layer_seconds=float(seconds[0]) / (layers * tokens),
        branch_seconds=float(seconds[1]) / (layers * tokens),
        layer_flops=float((layer_flops[:, -2] - flops.embedding_linears * texts.lengths).sum())
        / (layers * tokens),
        branch_flops=float(flops.branch.of_text(texts.lengths).sum()) / tokens,
    )


def _now(engine: Engine) -> float:
    if engine.device.type != "cpu":
        torch.cuda.synchronize()
    return time.perf_counter()
