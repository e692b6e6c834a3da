"""HDF5 containers: Keras 2 and Keras 3 files, single and sharded."""
