"""Does a sequence module look only where it may: not ahead, and not behind a mask?"""
