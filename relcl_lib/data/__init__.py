"""Data sets: images, and (as the papers arrive) sentences, triples and documents."""
