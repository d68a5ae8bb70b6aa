"""What a run needs around its mathematics, the same for every paper.

Parameters, devices and generators, whole files, checkpoints, the run itself, records, printed tables
and their comparison, metrics, what notebooks share, and the generic figures. Nothing here knows a
loss or a data set; of methods it has the colours alone, one per method in every figure.
"""
