"""Finds constructor arguments for a class that it has never seen."""
