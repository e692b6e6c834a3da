"""Writing: a plan becomes safetensors shards and a directory that appears whole or not at all."""
