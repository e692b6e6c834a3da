"""Files of the operating system: written whole, digested, evicted; links, strict JSON, and redaction of secrets."""
