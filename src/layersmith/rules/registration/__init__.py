"""Does nn.Module know of everything that forward uses?"""
