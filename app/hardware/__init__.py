"""Hardware by its name: graphics processors, processors, memory and slots as people write them, and what they can do.

`described` makes a machine of words, `known` adds the tables' figures to a detected one, `what_if` changes one.
"""
