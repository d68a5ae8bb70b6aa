"""HPCR's network in its plain form: one seed, features and cosine proxies, written from the equations."""

import torch
import torch.nn.functional as F
from torch import nn

TAU = 0.09


class Block(nn.Module):
    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.shortcut = nn.Sequential()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, x):
        out = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(out)) + self.shortcut(x))


class Network(nn.Module):
    def __init__(self, classes, width=20):
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        blocks, inputs = [], width
        for multiple, stride in ((1, 1), (2, 2), (4, 2), (8, 2)):
            blocks += [Block(inputs, multiple * width, stride)]
            blocks += [Block(multiple * width, multiple * width, 1)]
            inputs = multiple * width
        self.blocks = nn.Sequential(*blocks)
        self.proxies = nn.Linear(inputs, classes, bias=False)

    def forward(self, x):
        x = self.blocks(F.relu(self.bn1(self.conv1(x))))
        features = F.avg_pool2d(x, 4).flatten(1)
        return unit(features) @ unit(self.proxies.weight).T / TAU, features


def unit(vectors):
    return vectors / (vectors.norm(dim=1, keepdim=True) + 1e-6)


def relations(features):
    cosines = unit(features) @ unit(features).T / TAU
    n = len(features)
    others = ~torch.eye(n, dtype=torch.bool)
    return cosines[others].view(n, n - 1)
