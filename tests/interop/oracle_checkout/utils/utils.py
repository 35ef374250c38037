"""Loss and learning rate (specification, sections 9 and 10)."""

import math

import torch
from torch import nn


class WeightedAsymmetricLoss(nn.Module):
    def __init__(self, weight):
        super().__init__()
        self.weight = weight

    def forward(self, scores, labels):
        present = labels * scores.clamp(min=1e-8).log()
        absent = scores.detach() * (1 - labels) * (1 - scores).clamp(min=1e-8).log()
        return -torch.mean(self.weight * (present + absent))


def adjust_learning_rate(optimizer, epoch, epochs, first_rate, step, steps_of_epoch, warm_up):
    """A cosine to zero over all steps."""
    share = (epoch * steps_of_epoch + step) / (epochs * steps_of_epoch)
    for group in optimizer.param_groups:
        group["lr"] = first_rate * (1 + math.cos(math.pi * share)) / 2
