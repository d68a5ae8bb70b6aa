"""DocRE-II: document-level relation extraction by iterative inference over ATLOP."""
