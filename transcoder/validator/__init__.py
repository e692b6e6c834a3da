"""The validator: proves that an output is the same model as its source. Imports nothing of planning or writing."""
