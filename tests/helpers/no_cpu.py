"""Tensors without values, and a check that an operation takes no other: what a CUDA graph may hold."""

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

META = torch.device("meta")


class NothingOfTheCPU(TorchDispatchMode):
    """Every operation is on tensors without values; one of the CPU's is an error."""

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        found = function(*args, **(kwargs or {}))
        for value in tree_leaves((args, kwargs or {}, found)):
            if isinstance(value, torch.Tensor):
                assert value.is_meta, f"{function} is on the CPU"
        return found
