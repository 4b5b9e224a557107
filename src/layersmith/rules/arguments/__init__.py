"""Rules about the arguments of the constructor."""
