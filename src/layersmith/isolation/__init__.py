"""Processes for code that nobody has read: with limits, without network, writing only in a scratch folder."""

from layersmith.isolation.child import Child, Ended, Send, Work, start, supervised
from layersmith.isolation.confinement import Confinement, confine

__all__ = ["Child", "Confinement", "Ended", "Send", "Work", "confine", "start", "supervised"]
