"""Do the constructor's arguments do what they say?"""
