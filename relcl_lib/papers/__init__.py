"""One folder per paper, and the registry that names them. No paper imports another."""
