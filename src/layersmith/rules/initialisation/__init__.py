"""Does a signal survive the first forward and backward?"""
