"""Finds inputs for a module that it has never seen."""
