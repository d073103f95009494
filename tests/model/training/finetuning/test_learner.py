import torch
from torch import nn

from model.training.finetuning.learner import FinetuningLearner
from model.training.finetuning.quality import Quality
from model.training.finetuning.settings import BestBy


def learner_after(qualities: list[Quality], best_by: BestBy = BestBy.ACCURACY) -> FinetuningLearner:
    """A model whose weight is the number of the epoch."""
    learner = FinetuningLearner(nn.Linear(1, 1), epochs=5, best_by=best_by)
    for epoch, quality in enumerate(qualities, start=1):
        nn.init.constant_(learner.model.weight, epoch)
        learner.count_step(epoch, 1.0)
        learner.count_step(epoch, 2.0)
        learner.judge(epoch, quality)
    return learner


def test_of_equal_epochs_the_one_of_the_lower_loss_is_kept():
    qualities = [
        Quality(loss=loss, accuracy=accuracy) for loss, accuracy in ((3, 0.5), (2, 0.7), (1, 0.7), (1, 0.7))
    ]
    learner = learner_after(qualities)
    assert learner.best_epoch == 3
    learner.finish()
    assert learner.model.weight.item() == 3.0
    assert learner_after(qualities[:2]).best_epoch == 2


def test_its_state_holds_all_that_was_judged():
    qualities = [
        Quality(loss=1.5, accuracy=0.25, macro_f1=0.1),
        Quality(loss=1.25, accuracy=0.5, macro_f1=0.3),
    ]
    learner = learner_after(qualities)
    other = FinetuningLearner(nn.Linear(1, 1), epochs=5, best_by=BestBy.ACCURACY)
    other.load_state_dict(learner.state_dict())
    assert other.epochs == learner.epochs
    assert [epoch.quality for epoch in other.epochs] == qualities
    assert [epoch.loss for epoch in other.epochs] == [1.5, 1.5]
    other.finish()
    assert other.model.weight.item() == 2.0


def test_the_lowest_loss_may_be_the_best():
    assert (
        learner_after([Quality(loss=1, spearman=0.1), Quality(loss=2, spearman=0.9)], BestBy.LOSS).best_epoch
        == 1
    )


def test_nothing_is_kept_where_nothing_is_judged():
    learner = FinetuningLearner(nn.Linear(1, 1), epochs=2, best_by=None)
    nn.init.constant_(learner.model.weight, 7)
    learner.count_step(1, 1.0)
    learner.finish()
    assert (learner.best_epoch, learner.model.weight.item()) == (None, 7.0)
    assert not any(name.startswith("best") for name in learner.state_dict())
    assert torch.isnan(learner.judged).all()
