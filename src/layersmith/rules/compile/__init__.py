"""Does it work under torch.compile?"""
