"""Does the module follow `.to(dtype)`?"""
