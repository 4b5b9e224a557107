"""Does saving, loading and copying keep everything?"""
