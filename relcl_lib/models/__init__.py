"""Backbones and networks of the five papers."""
