"""HPCR's training step in its plain form: the yardstick of ``replay_step.py``.

One network, one seed, float32, every image augmented by itself through PIL (section 3.4 of the
protocol), PCR through the square matrix of a supervised contrastive loss, the memory a list.
Written from the equations, for comparison only: the library does the same work in other ways.
"""

import math
import random

import numpy as np
import torch
from naive_network import TAU, Network, relations, unit
from PIL import Image, ImageEnhance

# ---------------------------------------------------------------- augmentation, one image at a time


def resized_crop(image, rng):
    width, height = image.size
    for _ in range(10):
        area = rng.uniform(0.2, 1) * width * height
        ratio = math.exp(rng.uniform(math.log(3 / 4), math.log(4 / 3)))
        w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < w <= width and 0 < h <= height:
            left, top = rng.randint(0, width - w), rng.randint(0, height - h)
            break
    else:
        left, top, w, h = 0, 0, width, height
    cut = image.crop((left, top, left + w, top + h))
    return cut.resize((width, height), Image.Resampling.BILINEAR)


def turn_hue(image, turns):
    h, s, v = image.convert("HSV").split()
    turned = (np.asarray(h).astype(np.int16) + round(turns * 255)) % 256
    return Image.merge("HSV", (Image.fromarray(turned.astype(np.uint8)), s, v)).convert("RGB")


def augment(pixels, rng):
    """Map one image (3, H, W) of floats to a random view of it."""
    array = (255 * pixels).byte().permute(1, 2, 0).numpy()
    image = resized_crop(Image.fromarray(array), rng)
    if rng.random() < 0.5:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    if rng.random() < 0.8:
        operations = [
            lambda i: ImageEnhance.Brightness(i).enhance(rng.uniform(0.6, 1.4)),
            lambda i: ImageEnhance.Contrast(i).enhance(rng.uniform(0.6, 1.4)),
            lambda i: ImageEnhance.Color(i).enhance(rng.uniform(0.6, 1.4)),
            lambda i: turn_hue(i, rng.uniform(-0.1, 0.1)),
        ]
        rng.shuffle(operations)
        for operation in operations:
            image = operation(image)
    if rng.random() < 0.2:
        image = image.convert("L").convert("RGB")
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).float() / 255


# -------------------------------------------------------------------------------- losses and memory


def pcr_loss(features, proxies, labels):
    """PCR as a supervised contrastive loss whose contrast rows are the anchors' proxies: 40 x 40."""
    scores = unit(features) @ unit(proxies[labels]).T / TAU
    positive = (labels[:, None] == labels[None, :]).float()
    scores = scores - scores.max(dim=1, keepdim=True).values.detach()
    log_share = scores - scores.exp().sum(1, keepdim=True).log()
    return -((positive * log_share).sum(1) / positive.sum(1)).mean()


def pcd_loss(logits, stored, labels):
    return (logits[:, labels] - stored[:, labels]).square().mean()


def scd_loss(features, stored):
    teacher = relations(stored).softmax(1)
    return -(teacher * relations(features).log_softmax(1)).sum(1).mean()


class NaiveStep:
    """The step, its network and its memory."""

    def __init__(self, classes, capacity=200, seed=0, alpha=0.01, beta=0.5):
        torch.manual_seed(seed)
        self.rng = random.Random(seed)
        self.network = Network(classes).train()
        self.optimizer = torch.optim.SGD(self.network.parameters(), lr=0.1)
        self.capacity, self.n_seen, self.memory = capacity, 0, []
        self.alpha, self.beta = alpha, beta

    def both_views(self, images):
        return torch.cat([images, torch.stack([augment(image, self.rng) for image in images])])

    def __call__(self, images, labels, step):
        """One step on images (10, 3, H, W) of floats; the stream's second task is assumed."""
        logits, features = self.network(self.both_views(images))
        if self.memory:
            chosen = self.rng.sample(self.memory, min(10, len(self.memory)))
            image, label, old_logits, old_features = map(torch.stack, zip(*chosen, strict=True))
            memory_logits, memory_features = self.network(self.both_views(image))
            all_labels = torch.cat([label, label, labels, labels])
            all_features = torch.cat([memory_features, features])
            loss = pcr_loss(all_features, self.network.proxies.weight, all_labels)
            loss = loss * (1.18125 - 0.61875 * math.cos(2 * math.pi * step / 500))
            loss = loss + self.alpha * pcd_loss(memory_logits, old_logits.repeat(2, 1), all_labels)
            loss = loss + self.beta * scd_loss(memory_features, old_features.repeat(2, 1))
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
        for i in range(len(images)):
            sample = (images[i], labels[i], logits[i].detach(), features[i].detach())
            if len(self.memory) < self.capacity:
                self.memory.append(sample)
            else:
                place = self.rng.randrange(self.n_seen)
                if place < self.capacity:
                    self.memory[place] = sample
            self.n_seen += 1
