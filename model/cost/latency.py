"""What layers, branches and the lexical branch cost in seconds, measured where they run."""

import time
from dataclasses import dataclass

import torch
from torch import Tensor

from model.cost.flops import FlopsModel
from model.engine.core_pool import one_by_one
from model.engine.engine import Engine
from model.tokens.lengths import argsort_by_length
from model.tokens.packing import MicroBatch
from model.tokens.tokenization import TokenizedTexts


@dataclass(frozen=True, kw_only=True)
class RunCost:
    """Seconds and FLOPs per token, averaged over layers and over the texts they were measured on.

    Attributes:
        layer_seconds: of one layer.
        branch_seconds: of one branch.
        layer_flops: of one layer.
        branch_flops: of one branch.
        lexical_seconds: of the lexical branch; 0 for a model without one, as what follows.
        lexical_flops: likewise.
    """

    layer_seconds: float
    branch_seconds: float
    layer_flops: float
    branch_flops: float
    lexical_seconds: float = 0.0
    lexical_flops: float = 0.0

    @property
    def branch_to_layer_time_per_flop(self) -> float:
        """Time of a branch's FLOP as a multiple of that of a layer's: its products are small ones."""
        branch, layer = self.branch_seconds / self.branch_flops, self.layer_seconds / self.layer_flops
        return branch / layer

    @property
    def lexical_to_layer_time_per_flop(self) -> float:
        """The same of the lexical branch, whose time goes to hashes, which are no FLOPs."""
        if not self.lexical_flops:
            return 0.0
        return self.lexical_seconds / self.lexical_flops / (self.layer_seconds / self.layer_flops)


@torch.inference_mode()
def measure_cost(engine: Engine, texts: TokenizedTexts, flops: FlopsModel) -> RunCost:
    """Run all layers but the last, and all branches, and take the time of each.

    Args:
        engine: a FastBERT made ready.
        texts: at least one, in any order; some thousand tokens are enough.
        flops: of the model.
    """
    ordered = texts.take(argsort_by_length(texts.lengths))
    batches = engine.micro_batches(ordered.lengths, engine.layer_token_types(ordered))

    def run(batch: MicroBatch) -> tuple[Tensor, list[Tensor]]:
        states = engine.embed(ordered, batch)
        times, features = [_now(engine)], []
        for layer in range(1, engine.num_layers):
            states = engine.run_layer(layer, states, batch)
            times.append(_now(engine))
            features.append(engine.branch_features(layer, states, batch))
            times.append(_now(engine))
        steps = torch.tensor(times, dtype=torch.float64).diff()
        return torch.stack([steps[0::2].sum(), steps[1::2].sum()]), features

    def run_all() -> tuple[Tensor, float]:
        parts = engine.map_micro_batches(run, batches)
        seconds = torch.stack([of_part for of_part, _ in parts]).sum(dim=0)
        features = [torch.cat(of_layer) for of_layer in zip(*(seen for _, seen in parts), strict=True)]
        # As in a sweep: of all texts at once.
        start = _now(engine)
        for layer, of_layer in enumerate(features, start=1):
            engine.branch_logits(layer, of_layer)
        seconds[1] += _now(engine) - start
        if 0 not in engine.exits:
            return seconds, 0.0
        start = _now(engine)
        # On one core, as the others' seconds are of a core.
        engine.lexical_logits(ordered, one_by_one)
        return seconds, _now(engine) - start

    # The first time kernels are compiled.
    engine.run_on_driver_thread(run_all)
    seconds, lexical_seconds = engine.run_on_driver_thread(run_all)
    layers, tokens = engine.num_layers - 1, int(texts.lengths.sum())
    layer_flops = flops.to_layers(texts.lengths)
    return RunCost(
        layer_seconds=float(seconds[0]) / (layers * tokens),
        branch_seconds=float(seconds[1]) / (layers * tokens),
        layer_flops=float((layer_flops[:, -2] - flops.embedding_linears * texts.lengths).sum())
        / (layers * tokens),
        branch_flops=float(flops.branch.of_text(texts.lengths).sum()) / tokens,
        lexical_seconds=lexical_seconds / tokens,
        lexical_flops=float(flops.lexical.of_text(texts.lengths).sum()) / tokens if flops.lexical else 0.0,
    )


def _now(engine: Engine) -> float:
    if engine.device.type != "cpu":
        torch.cuda.synchronize(engine.device)
    return time.perf_counter()
