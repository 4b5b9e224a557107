"""Do train and eval mean what they should?"""
