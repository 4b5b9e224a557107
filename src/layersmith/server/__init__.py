"""The processes that run the user's code, and what they and the command line's process say to each other.

The command line's process never runs the user's code and never imports torch. It starts `main`, which imports torch
once; that one starts a child for every file (`file`), which starts a child for every class (`subject`).
"""

from layersmith.server.messages import Confined, Failed, Found, Reported, Request

__all__ = ["Confined", "Failed", "Found", "Reported", "Request"]
