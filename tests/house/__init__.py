"""The house itself: layers, pages, README, scripts."""
