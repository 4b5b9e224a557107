"""The rules: one folder a group, one file a rule, named by the problem it finds."""
