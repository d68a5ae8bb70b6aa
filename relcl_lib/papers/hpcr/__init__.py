"""HPCR: online continual learning by holistic proxy-based contrastive replay."""
