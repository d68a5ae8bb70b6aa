"""Readers: files of a data set in, plain data out, and errors that say what to put where.

Where a set lies and what is downloaded, the layouts in which sets are distributed, and the sizes
that make a set the paper's. No word ids, no batches, no tasks: those are made in `relcl_lib.text`
and `relcl_lib.continual`.
"""
