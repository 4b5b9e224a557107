"""Does forward do what a caller may expect of it?"""
