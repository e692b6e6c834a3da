"""Sources: the containers that hold a model's variables, one module or folder a format. Bytes and names, no models."""
