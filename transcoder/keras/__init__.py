"""Keras layers: what their variables are called and how they are laid out, beside the same in torch.nn. Data only."""
