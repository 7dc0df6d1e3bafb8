"""The whole line as functions: what the commands and the Python API both call.

Owns the order of the steps and what is kept of them. Prints nothing (progress is told to a
`Progress`), parses nothing, and computes no number that a room below defines.
"""
