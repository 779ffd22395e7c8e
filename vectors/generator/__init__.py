"""The parts of `generate.py`: one module for each class of vectors or two."""
