"""FastRE: joint triple extraction by dilated gated convolutions and a cascade tagger."""
