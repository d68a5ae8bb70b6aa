"""DRL: continual learning with a discriminative representation loss (CLVision tracks)."""
