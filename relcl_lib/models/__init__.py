"""Networks of the five papers, from their layers up; each maps tensors to tensors and trains nothing.

Losses, what a step replays and how a run goes stand elsewhere; files of data are never read here.
"""
