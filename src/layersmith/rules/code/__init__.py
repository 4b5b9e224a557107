"""Does forward stay within what autograd, the compiler and every device follow?"""
