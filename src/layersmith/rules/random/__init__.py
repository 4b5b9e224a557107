"""Does it leave the random generators to its caller?"""
