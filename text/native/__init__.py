"""A decoder's step in C++: its matrices, in 32, 16 or 8 bits a weight, and all that is between.

For writing on a CPU, where calls and unwanted copies take longer than the arithmetic of one token.
Everything else is done in PyTorch (text/model.py), with which it agrees (tests/text/native).
"""
