"""What recorders of a training share: after which steps, in which process, into which file, called by which framework.

It has no names of its own for users: rooms that record give theirs.
"""
