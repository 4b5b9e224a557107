"""Is what its author states beside the usual promises true?"""
