"""A thin loop that trains any module on real data, beside a torch.nn baseline of equal size."""

from layersmith.training.datasets import Dataset, load
from layersmith.training.loop import adamw, train
from layersmith.training.report import Epoch, Run, TrainReport
from layersmith.training.split import Scaling
from layersmith.training.weights import scaling_of

__all__ = ["Dataset", "Epoch", "Run", "Scaling", "TrainReport", "adamw", "load", "scaling_of", "train"]
