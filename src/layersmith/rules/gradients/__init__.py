"""Does backward compute the derivative of forward?"""
