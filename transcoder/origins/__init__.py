"""Origins: which program made a checkpoint directory, hence its config.json, mapping, class and small files."""
