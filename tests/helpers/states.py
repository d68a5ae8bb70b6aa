"""What a network or a memory holds, kept to be compared later."""

import torch


def kept(state):
    """Copies of the tensors of a module, or of pairs of a name and a tensor."""
    named = state.state_dict() if hasattr(state, "state_dict") else state
    return {name: value.detach().clone() for name, value in dict(named).items()}


def same(first, second):
    """Whether two such states hold the same tensors under the same names."""
    first, second = (
        s.state_dict() if hasattr(s, "state_dict") else dict(s) for s in (first, second)
    )
    return first.keys() == second.keys() and all(torch.equal(first[k], second[k]) for k in first)
