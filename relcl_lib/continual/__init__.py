"""Learning from a stream: memories, task streams, tracks, sessions, augmentation, gradients.

What arrives when, what is kept of it, and how a gradient is bent. No network, no loss, no record.
"""
