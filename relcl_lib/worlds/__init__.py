"""The generator of the small text world, and the pretraining of its tiny encoder.

The library reads what these wrote from `data/synthetic`; nothing imports this package unless more
documents are asked for than are committed.
"""
