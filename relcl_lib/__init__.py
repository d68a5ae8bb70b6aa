"""relcl: five papers on learning without forgetting and extracting relations, as notebooks.

Importing this package loads no torch, opens no file and prints nothing; import the module you
need, e.g. ``from relcl_lib.losses import proxy_contrastive_loss``.
"""

__version__ = "0.2.0"
